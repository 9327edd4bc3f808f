/* The time that a reply asks us to wait: within bounds, and of temporary replies only. */
#include "queue/hint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct esc greylisted = {4, 7, 1}, none = {0};
    struct str text = str_of(data, size);
    uint32_t s = report_retry_hint(450, greylisted, text);
    must(s == 0 || (s >= RETRY_HINT_MIN_S && s <= RETRY_HINT_MAX_S));
    s = report_retry_hint(451, none, text);
    must(s == 0 || (s >= RETRY_HINT_MIN_S && s <= RETRY_HINT_MAX_S));
    must(report_retry_hint(550, none, text) == 0);
    return 0;
}
