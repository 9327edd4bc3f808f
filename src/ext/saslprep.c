#include "ext/saslprep.h"

#include "base/mem.h"
#include "crypto/secret.h"
#include "wire/utf8.h"

#include <stringprep.h>
#include <uninorm.h>

/* One character becomes at most 18 (U+FDFA, of three octets), which is the most for each octet. */
enum { CODES_MAX = SASLPREP_MAX * 6 + 64, STEPS_MAX = 16 };

struct codes { /* a text, as numbers of characters */
    uint32_t at[CODES_MAX];
    size_t n;
};

static bool is_printable_ascii(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < ' ' || s.p[i] > '~')
            return false;
    }
    return true;
}

static bool decode(struct str s, struct codes *out)
{
    while (s.n > 0) {
        size_t n = utf8_next(s, &out->at[out->n]);
        if (n == 0)
            return false;
        out->n++;
        s = str_skip(s, n);
    }
    return true;
}

/* Some of the steps of a profile, in place; these want no memory. */
static enum saslprep_result take_steps(struct codes *c, const Stringprep_profile *steps,
                                       enum saslprep_use use)
{
    Stringprep_profile_flags flags = use == SASLPREP_STORED ? STRINGPREP_NO_UNASSIGNED : 0;
    switch ((Stringprep_rc)stringprep_4i(c->at, &c->n, CODES_MAX, flags, steps)) {
    case STRINGPREP_OK:
        return SASLPREP_OK;
    case STRINGPREP_CONTAINS_UNASSIGNED:
        return SASLPREP_UNASSIGNED;
    case STRINGPREP_CONTAINS_PROHIBITED:
        return SASLPREP_PROHIBITED;
    case STRINGPREP_BIDI_BOTH_L_AND_RAL:
    case STRINGPREP_BIDI_LEADTRAIL_NOT_RAL:
    case STRINGPREP_BIDI_CONTAINS_PROHIBITED:
        return SASLPREP_DIRECTION;
    case STRINGPREP_TOO_SMALL_BUFFER:
    case STRINGPREP_PROFILE_ERROR:
    case STRINGPREP_FLAG_ERROR:
    case STRINGPREP_UNKNOWN_PROFILE:
    case STRINGPREP_ICONV_ERROR:
    case STRINGPREP_NFKC_FAILED:
    case STRINGPREP_MALLOC_ERROR:
        break;
    }
    return SASLPREP_NO_ROOM;
}

static bool normalize(const struct codes *in, struct codes *out)
{
    out->n = CODES_MAX;
    uint32_t *p = u32_normalize(UNINORM_NFKC, in->at, in->n, out->at, &out->n);
    if (p == out->at)
        return true;
    if (p != NULL) {
        secret_wipe(p, out->n * sizeof *p);
        mem_free(p);
    }
    out->n = 0;
    return false;
}

static bool encode(const struct codes *c, struct buf *out)
{
    size_t before = out->n;
    for (size_t i = 0; i < c->n; i++) {
        if (utf8_put(c->at[i], out))
            continue;
        secret_wipe(out->p + before, out->n - before);
        out->n = before;
        return false;
    }
    return true;
}

/* The library's profile in two parts, around the normalization. */
static enum saslprep_result prepare(struct codes *raw, struct codes *c, enum saslprep_use use)
{
    Stringprep_profile before[STEPS_MAX] = {{0}};
    size_t n = 0;
    while (stringprep_saslprep[n].operation != STRINGPREP_NFKC) {
        must(stringprep_saslprep[n].operation != 0 && n + 1 < STEPS_MAX);
        before[n] = stringprep_saslprep[n];
        n++;
    }
    enum saslprep_result r = take_steps(raw, before, use);
    if (r == SASLPREP_OK && !normalize(raw, c))
        r = SASLPREP_NO_ROOM;
    return r == SASLPREP_OK ? take_steps(c, stringprep_saslprep + n + 1, use) : r;
}

enum saslprep_result saslprep(struct str s, enum saslprep_use use, struct buf *out)
{
    if (s.n > SASLPREP_MAX)
        return SASLPREP_MALFORMED;
    if (is_printable_ascii(s))
        return buf_put(out, s) ? SASLPREP_OK : SASLPREP_NO_ROOM;
    struct codes *both = mem_alloc_array(2, sizeof *both);
    if (both == NULL)
        return SASLPREP_NO_ROOM;
    enum saslprep_result r = SASLPREP_MALFORMED;
    if (decode(s, &both[0]))
        r = prepare(&both[0], &both[1], use);
    if (r == SASLPREP_OK && !encode(&both[1], out))
        r = SASLPREP_NO_ROOM;
    secret_wipe(both, 2 * sizeof *both);
    mem_free(both);
    return r;
}

const char *saslprep_text(enum saslprep_result r)
{
    static const char *const texts[] = {
        [SASLPREP_OK] = "is well",
        [SASLPREP_MALFORMED] = "is no text in UTF-8, or too long",
        [SASLPREP_PROHIBITED] =
            "has a character that clients may not send (a control character, one that can't be "
            "seen, or one for private use)",
        [SASLPREP_DIRECTION] =
            "mixes letters that are written from right to left with others: then it must begin and "
            "end with one of them, and hold no other letters",
        [SASLPREP_UNASSIGNED] =
            "has a character that is younger than Unicode 3.2, such as an emoji: not all clients "
            "would send the same for it",
        [SASLPREP_NO_ROOM] = "can't be prepared: no memory",
    };
    return (unsigned)r < ARRAY_LEN(texts) ? texts[r] : "?";
}
