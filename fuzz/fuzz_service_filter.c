/* The language that chooses entries: a filter, or words for people that say why not; a pattern matches
 * itself. */
#include "base/mem.h"
#include "service/queue/queue_filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_of(data, size);
    struct filter *f = mem_must_new(struct filter);
    struct buf error;
    buf_init(&error, 65536);
    if (filter_parse(text, f, &error))
        must(f->n <= FILTER_TERMS_MAX && error.n == 0);
    else
        must(error.n > 0 && !error.failed && !str_has_ctl(buf_str(&error)));
    if (size < 500) {
        must(filter_glob(text, text));
        (void)filter_glob(str_slice(text, 0, size / 2), str_skip(text, size / 2));
    }
    buf_fini(&error);
    mem_free(f);
    return 0;
}
