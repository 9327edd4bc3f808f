/* base/siphash.h: SipHash-2-4 with 128 bits (Aumasson, Bernstein: SipHash: a fast short-input PRF, 2012): a
 * fingerprint of a text that others may have chosen. With a secret key nobody outside finds two texts of one
 * fingerprint, nor texts that share a part of it.
 */
#pragma once
#include "base/str.h"

enum { SIPHASH_KEY = 16, SIPHASH_SIZE = 16 };
void siphash(const unsigned char key[SIPHASH_KEY], struct str s, unsigned char out[SIPHASH_SIZE]);
