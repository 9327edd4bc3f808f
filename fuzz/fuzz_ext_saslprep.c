/* Names and passwords: the form that is compared is UTF-8 without controls, and its own form; what is in the
 * way of keeping it is in no way of comparing it but for young characters. */
#include "ext/saslprep.h"
#include "wire/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t rooms[] = {12 * SASLPREP_MAX, SASLPREP_MAX};
    struct str s = str_of(data, size);
    char stored_mem[12 * SASLPREP_MAX], query_mem[12 * SASLPREP_MAX], again_mem[12 * SASLPREP_MAX];
    struct buf stored, query, again;
    buf_init_fixed(&stored, stored_mem, rooms[size % 2]);
    buf_init_fixed(&query, query_mem, rooms[size % 2]);
    buf_init_fixed(&again, again_mem, sizeof again_mem);
    enum saslprep_result r = saslprep(s, SASLPREP_STORED, &stored), q = saslprep(s, SASLPREP_QUERY, &query);
    must(r == q || (r == SASLPREP_UNASSIGNED && (q == SASLPREP_OK || q == SASLPREP_NO_ROOM)));
    must(r == SASLPREP_OK || stored.n == 0);
    if (q != SASLPREP_OK) {
        must(query.n == 0);
        return 0;
    }
    must(utf8_is_valid(buf_str(&query)) && !str_has_ctl(buf_str(&query)));
    if (r != SASLPREP_OK)
        return 0;
    must(str_eq(buf_str(&stored), buf_str(&query)));
    if (stored.n <= SASLPREP_MAX)
        must(saslprep(buf_str(&stored), SASLPREP_STORED, &again) == SASLPREP_OK &&
             str_eq(buf_str(&stored), buf_str(&again)));
    return 0;
}
