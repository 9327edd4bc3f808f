/* A text as a configuration file: errors, or a configuration that survives the way to a role. */
#include "config_run.h"

enum { TEXT_MAX = 8192 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str text = str_of(data, n);
    struct config_run r;
    if (n > TEXT_MAX)
        return 0;
    const struct config *c = config_run_load(&r, text, text, n % 2 == 1);
    if (c != NULL)
        (void)config_run_again(&r, c);
    config_run_end(&r);
    return 0;
}
