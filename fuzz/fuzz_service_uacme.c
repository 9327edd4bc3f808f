/* Lines of uacme, in which an authority's words stand: what is taken from one lies within it, and is a
 * challenge only where it can be answered. */
#include "proto/http01.h"
#include "service/acme/uacme.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool lies_within(struct str part, struct str whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str line = str_of(data, size);
    struct uacme_line got;
    enum uacme_says says = uacme_read(line, ACME_TLS_ALPN_01, &got);
    must(got.answer.n == 0 && lies_within(got.name, line) && lies_within(got.token, line));
    must(got.token.n == 0 || says == UACME_CHALLENGE);
    says = uacme_read(line, ACME_HTTP_01, &got);
    must(lies_within(got.text, line) && lies_within(got.name, line));
    must(lies_within(got.token, line) && lies_within(got.answer, line));
    must((says == UACME_TEXT || says == UACME_DETAIL) == (got.text.n > 0));
    must(got.token.n == 0 || (says == UACME_CHALLENGE && http01_is_answer(got.token, got.answer)));
    return 0;
}
