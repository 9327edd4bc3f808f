/* Octets as a response of a name server: refused, or records within their bounds. The first says the type
 * asked for. */
#include "ext/dns_packet.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const enum dns_type types[] = {DNS_A, DNS_CNAME, DNS_MX, DNS_TXT, DNS_AAAA, DNS_TLSA};
    if (n < 1)
        return 0;
    struct dns_packet p;
    dns_packet_init(&p);
    bool ok = dns_packet_read(&p, str_of(data + 1, n - 1), types[data[0] % ARRAY_LEN(types)]);
    must(p.n_rdata <= DNS_RECORDS_MAX && (ok || p.n_rdata == 0));
    must(memchr(p.canonical, '\0', sizeof p.canonical) != NULL);
    for (size_t i = 0; i < p.n_rdata; i++)
        must(p.rdata[i].n <= p.bytes.n && p.rdata[i].p >= p.bytes.p &&
             p.rdata[i].p + p.rdata[i].n <= p.bytes.p + p.bytes.n);
    dns_packet_fini(&p);
    return 0;
}
