/* Domains outside ASCII: an A-label form is ASCII, fits, is its own form, and names the same domain. */
#include "base/limits.h"
#include "ext/idn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str domain = str_of(data, size);
    char ascii_mem[DNS_NAME_MAX + 1], again_mem[DNS_NAME_MAX + 1], shown_mem[4 * DNS_NAME_MAX];
    struct buf ascii, again, shown;
    buf_init_fixed(&ascii, ascii_mem, sizeof ascii_mem);
    buf_init_fixed(&again, again_mem, sizeof again_mem);
    buf_init_fixed(&shown, shown_mem, sizeof shown_mem);
    must(idn_same(domain, domain));
    if (!idn_to_ascii(domain, &ascii)) {
        must(ascii.n == 0);
        return 0;
    }
    must(ascii.n <= DNS_NAME_MAX && str_is_ascii(buf_str(&ascii)));
    must(idn_to_ascii(buf_str(&ascii), &again) && str_eq(buf_str(&ascii), buf_str(&again)));
    must(idn_same(domain, buf_str(&ascii)));
    if (idn_to_unicode(buf_str(&ascii), &shown))
        must(shown.n > 0 || ascii.n == 0);
    return 0;
}
