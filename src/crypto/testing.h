/* crypto/testing.h: what the tests of this folder, and of those that use it, share. */
#pragma once
#include "base/buf.h"
#include "crypto/crypto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static inline int setup_crypto(void **state)
{
    struct crypto *c;
    if (crypto_new(&c) != ERR_OK)
        return -1;
    *state = c;
    return 0;
}

static inline int teardown_crypto(void **state)
{
    struct crypto *c = *state;
    crypto_del(&c);
    return c == NULL ? 0 : -1;
}

/* Octets against their hexadecimal text. */
static inline void assert_hex(const uint8_t *octets, size_t n, const char *hex)
{
    struct str s = str_from_c(hex);
    assert_int_equal(s.n, 2 * n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(octets[i], ascii_hex_value(s.p[2 * i]) << 4 | ascii_hex_value(s.p[2 * i + 1]));
}
