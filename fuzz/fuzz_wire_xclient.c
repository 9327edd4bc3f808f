/* XCLIENT's arguments: an error has a phrase, a success has what it says it has. */
#include "base/limits.h"
#include "base/mem.h"
#include "wire/xclient.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const struct xclient *x, unsigned flag, struct str text)
{
    bool has_value = (x->has & ~(x->unavailable | x->tempunavail) & flag) != 0;
    must((text.n > 0) == has_value && text.n <= SMTP_DOMAIN_MAX && !str_has_ctl(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct xclient x;
    struct buf mem;
    char *octets = mem_must_alloc(size + 1);
    buf_init_fixed(&mem, octets, size);
    const char *why = xclient_parse(str_of(data, size), &mem, &x);
    must(!mem.failed);
    if (why == NULL) {
        check_text(&x, XCLIENT_NAME, x.name);
        check_text(&x, XCLIENT_HELO, x.helo);
        check_text(&x, XCLIENT_LOGIN, x.login);
        must((x.unavailable & x.tempunavail) == 0 && ((x.unavailable | x.tempunavail) & ~x.has) == 0);
    } else {
        must(str_from_c(why).n > 0 && !str_has_ctl(str_from_c(why)));
    }
    mem_free(octets);
    return 0;
}
