#include "queue/suppressed.h"

#include "base/limits.h"

#include <string.h>

/* Numbers that no mail's record and hint begin with (queue/envelope.c). */
enum { RECORD_MARK = 0x81, HINT_MARK = 0x81 };

const char *suppress_reason_word(enum suppress_reason r)
{
    static const char *const words[] = {[SUPPRESS_REFUSED] = "refused",
                                        [SUPPRESS_BOUNCED] = "bounced",
                                        [SUPPRESS_COMPLAINED] = "complained",
                                        [SUPPRESS_OPERATOR] = "operator"};
    must((size_t)r < ARRAY_LEN(words) && words[r] != NULL);
    return words[r];
}

static bool is_reason(unsigned r)
{
    return r >= SUPPRESS_REFUSED && r <= SUPPRESS_REASON_MAX;
}

bool suppressed_encode(const struct suppressed *s, struct buf *out)
{
    buf_put_u8(out, RECORD_MARK);
    buf_put_u8(out, (uint8_t)s->reason);
    buf_put_u32(out, s->since_s);
    buf_put_lstr(out, str_slice(s->address, 0, SMTP_PATH_MAX));
    return buf_put_lstr(out, str_slice(s->why, 0, SUPPRESSED_WHY_MAX));
}

bool suppressed_decode(struct str octets, struct suppressed *out)
{
    struct reader r = reader_of(octets);
    uint8_t mark = read_u8(&r), reason = read_u8(&r);
    struct suppressed s = {.since_s = read_u32(&r)};
    s.address = read_lstr(&r);
    s.why = read_lstr(&r);
    if (!reader_done(&r) || mark != RECORD_MARK || !is_reason(reason) || s.address.n == 0 ||
        s.address.n > SMTP_PATH_MAX || s.why.n > SUPPRESSED_WHY_MAX || str_has_ctl(s.address))
        return false;
    s.reason = (enum suppress_reason)reason;
    *out = s;
    return true;
}

void suppressed_hint_encode(const struct suppressed_hint *h, unsigned char out[STORE_HINT])
{
    memset(out, 0, STORE_HINT);
    out[0] = HINT_MARK;
    out[1] = (unsigned char)h->reason;
    put_u32_at(out + 4, h->since_s);
    memcpy(out + 16, h->hash, SIPHASH_SIZE);
}

bool suppressed_hint_decode(const unsigned char in[STORE_HINT], struct suppressed_hint *out)
{
    bool ok = in[0] == HINT_MARK && is_reason(in[1]) && in[2] == 0 && in[3] == 0 && get_u64_at(in + 8) == 0;
    if (!ok)
        return false;
    out->reason = (enum suppress_reason)in[1];
    out->since_s = get_u32_at(in + 4);
    memcpy(out->hash, in + 16, SIPHASH_SIZE);
    return true;
}

void suppressed_hash(struct str key, unsigned char out[SIPHASH_SIZE])
{
    static const unsigned char name[SIPHASH_KEY] = {'w', 'a', 'x', 'w', 'i', 'n', 'g', ' ',
                                                    's', 'u', 'p', 'p', 'r', 'e', 's', 's'};
    siphash(name, key, out);
}
