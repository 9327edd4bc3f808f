/* prog/policy_hosts.h: are there certificates for the hosts of our policies of MTA-STS? For commands: they
 * may read files.
 *
 * Owns:     nothing; what was read is wiped, a certificate's file may hold its key.
 * Errors:   a file that can't be read here may well be readable for the server: then nothing is said.
 */
#pragma once
#include "config/config.h"
#include "crypto/crypto.h"

/* Calls fn with each domain of c->sts_hosts that no certificate has the policy host of. */
void policy_hosts_uncovered(const struct crypto *crypto, const struct config *c,
                            void (*fn)(void *arg, struct str domain), void *arg);
