/* Address lists: what is found is an address, is written in its plainest form, and is found again in a list
 * of what was found; every element lies in the input and the walk ends. */
#include "base/limits.h"
#include "wire/address.h"
#include "wire/addrlist.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_of(data, size), element;
    struct addrlist l;
    struct buf all;
    const char *why = NULL;
    enum addrlist_status st;
    size_t n_found = 0, n_again = 0, n_steps = 0;
    buf_init(&all, 2 * size + 16);
    addrlist_init(&l, in);
    for (size_t at = 0; (st = addrlist_next(&l, &all, &element, &why)) != ADDRLIST_END; at = all.n) {
        must(++n_steps <= size);
        must(element.p >= in.p && element.p + element.n <= in.p + in.n);
        if (st == ADDRLIST_BAD) {
            must(why != NULL && all.n == at);
            continue;
        }
        struct address a;
        must(address_parse(str_skip(buf_str(&all), at), true, &a) == NULL);
        must(n_found++ <= size && buf_putc(&all, ','));
    }
    struct buf one;
    char mem[2 * SMTP_PATH_MAX];
    buf_init_fixed(&one, mem, sizeof mem);
    struct str rest = buf_str(&all);
    addrlist_init(&l, rest);
    while ((st = addrlist_next(&l, &one, &element, &why)) != ADDRLIST_END) {
        must(st == ADDRLIST_MAILBOX && str_eq(buf_str(&one), element));
        n_again++;
        buf_reset(&one);
    }
    must(n_again == n_found);
    buf_fini(&all);
    return 0;
}
