/* prog/dns_records.h: what a configuration wants to stand in the DNS, as facts in order: records, policies of
 * MTA-STS, and notes for people.
 *
 * Owns:     nothing; what a fact says is valid during the call.
 * Limits:   those of the configuration.
 * RFC 5321 5.1 (MX), 6698 and 7672 3.1.1 (TLSA), 8461 3 (MTA-STS), 8460 3 (TLS-RPT), 6186 and 8314 5.1 (SRV).
 */
#pragma once
#include "config/config.h"

enum { DNS_KEY_PRINT = 32 };
struct dns_key {                  /* of a certificate in force at port 25 */
    uint8_t print[DNS_KEY_PRINT]; /* SHA-256 of its public key */
};
enum dns_fact_kind { DNS_FACT_RECORD = 0, DNS_FACT_POLICY, DNS_FACT_NOTE };
struct dns_fact {
    enum dns_fact_kind kind;
    struct str name; /* record: who has it; policy: its address on the web */
    const char *type;
    bool is_served;  /* policy: by this server */
    struct str text; /* record: its data as zone files have them; else lines of text */
};
/* keys: of the certificates that clients of the hostname's port 25 are shown. */
void dns_records(const struct config *c, const struct dns_key *keys, size_t n_keys,
                 void (*fn)(void *arg, const struct dns_fact *f), void *arg);
