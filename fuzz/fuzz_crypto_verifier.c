/* A verifier's field: what is refused has a reason and matches nothing; what is taken keeps within its
 * limits, and its SCRAM forms are written as they were read. */
#include "crypto/verifier.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_scram(const struct verifier *v, enum scram_hash h)
{
    char mem[VERIFIER_TEXT_MAX];
    struct verifier again;
    struct buf b;
    const struct scram_verifier *s = &v->scram[h];
    must(s->iterations >= SCRAM_ITERATIONS_MIN && s->iterations <= SCRAM_ITERATIONS_MAX);
    must(s->n_salt >= 1 && s->n_salt <= SCRAM_SALT_MAX);
    buf_init_fixed(&b, mem, sizeof mem);
    must(verifier_put_scram(&b, h, s));
    must(verifier_parse(buf_str(&b), &again) == NULL && again.has_scram[h]);
    must(memcmp(&again.scram[h], s, sizeof *s) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct verifier v;
    const char *why = verifier_parse(str_of(data, size), &v);
    if (why != NULL) {
        must(str_from_c(why).n > 0 && !str_has_ctl(str_from_c(why)));
        must(v.is_false && v.asks == VERIFIER_NONE);
        return 0;
    }
    must(memchr(v.crypt, '\0', sizeof v.crypt) != NULL && !str_has_ctl(str_from_c(v.crypt)));
    must(v.is_false == (v.asks == VERIFIER_NONE));
    for (unsigned h = 0; h < SCRAM_HASHES; h++) {
        if (v.has_scram[h])
            check_scram(&v, (enum scram_hash)h);
    }
    return 0;
}
