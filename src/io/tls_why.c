/* io/tls_why.c: failures as texts for people and as enum tls_fault, mapped here and nowhere else. The
 * library's error queue is a thread's; whoever may have filled it empties it.
 */
#include "io/tls.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

/* Reasons that stand for many: what an administrator can make of them. */
static const struct {
    int reason;
    const char *text;
} texts[] = {
    {SSL_R_WRONG_VERSION_NUMBER, "the other side spoke no TLS"},
    {SSL_R_UNKNOWN_PROTOCOL, "the other side spoke no TLS"},
    {SSL_R_HTTP_REQUEST, "the other side spoke HTTP and no TLS"},
    {SSL_R_HTTPS_PROXY_REQUEST, "the other side spoke HTTP and no TLS"},
    {SSL_R_PACKET_LENGTH_TOO_LONG, "the other side spoke no TLS"},
    {SSL_R_RECORD_LENGTH_MISMATCH, "the other side spoke no TLS"},
    {SSL_R_BAD_RECORD_TYPE, "the other side spoke no TLS"},
    {SSL_R_UNSUPPORTED_PROTOCOL, "no version of TLS that both sides take"},
    {SSL_R_VERSION_TOO_LOW, "no version of TLS that both sides take"},
    {SSL_R_WRONG_SSL_VERSION, "no version of TLS that both sides take"},
    {SSL_R_NO_SHARED_CIPHER, "no cipher suite that both sides take"},
    {SSL_R_NO_SHARED_GROUPS, "no key exchange group that both sides take"},
    {SSL_R_NO_SUITABLE_KEY_SHARE, "no key exchange group that both sides take"},
    {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, "no signature algorithm that both sides take"},
    {SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, "no signature algorithm that both sides take"},
    {SSL_R_NO_APPLICATION_PROTOCOL, "the other side asked for other protocols (ALPN) only"},
    {SSL_R_DH_KEY_TOO_SMALL, "the other side's key exchange is too weak"},
    {SSL_R_BAD_SIGNATURE, "the other side's signature is wrong: it does not have the certificate's key"},
    {SSL_R_EE_KEY_TOO_SMALL, "the certificate's key is too short"},
    {SSL_R_CA_KEY_TOO_SMALL, "the key of an issuer in the chain is too short"},
    {SSL_R_CA_MD_TOO_WEAK, "a signature in the certificate's chain is too weak"},
};

/* NULL: none of them. */
static const char *text_of(unsigned long error)
{
    for (size_t i = 0; i < ARRAY_LEN(texts) && ERR_GET_LIB(error) == ERR_LIB_SSL; i++) {
        if (texts[i].reason == ERR_GET_REASON(error))
            return texts[i].text;
    }
    return NULL;
}

void tls_why_library(struct buf *why)
{
    unsigned long error = ERR_peek_error();
    const char *text = error == 0 ? err_str(ERR_NOMEM) : text_of(error);
    if (text == NULL)
        text = ERR_reason_error_string(error);
    (void)buf_puts(why, text == NULL ? "the TLS library can't take it" : text);
    ERR_clear_error();
}

/* The first error of the library's TLS code, which the later ones only follow. */
static unsigned long first_error(void)
{
    unsigned long first = 0;
    for (unsigned long e = ERR_get_error(); e != 0; e = ERR_get_error()) {
        if (first == 0 || (ERR_GET_LIB(first) != ERR_LIB_SSL && ERR_GET_LIB(e) == ERR_LIB_SSL))
            first = e;
    }
    return first;
}

static enum err why_closed(const struct tls_conn *tc, struct buf *why)
{
    bool is_broken = tc->read_errnum != 0 || (!tc->is_eof && tc->write_err != ERR_OK);
    (void)buf_puts(why, is_broken ? "the connection broke during the TLS handshake"
                                  : "the other side closed the connection during the TLS handshake");
    return ERR_CLOSED;
}

enum tls_fault tls_fault_of(long verified)
{
    switch (verified) {
    case X509_V_OK:
        return TLS_FAULT_NONE;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return TLS_FAULT_EXPIRED;
    case X509_V_ERR_HOSTNAME_MISMATCH:
        return TLS_FAULT_NAME;
    case X509_V_ERR_DANE_NO_MATCH:
        return TLS_FAULT_RECORDS;
    case X509_V_ERR_OUT_OF_MEM:
    case X509_V_ERR_UNSPECIFIED:
        return TLS_FAULT_OURS;
    default:
        return TLS_FAULT_UNTRUSTED;
    }
}

enum err tls_why(struct tls_conn *tc, const struct tls_shake *k, struct buf *why)
{
    unsigned long error = first_error();
    int reason = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;
    long verified = SSL_get_verify_result(tc->ssl);
    tc->fault = TLS_FAULT_HANDSHAKE;
    if (k->sign_err != ERR_OK) {
        tc->fault = TLS_FAULT_OURS;
        (void)buf_printf(why, "no signature was made with our key: %s", err_str(k->sign_err));
    } else if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && verified != X509_V_OK) {
        tc->fault = (uint8_t)tls_fault_of(verified);
        (void)buf_printf(why, "the certificate of the other side: %s",
                         X509_verify_cert_error_string(verified));
    } else if (reason > SSL_AD_REASON_OFFSET && reason <= SSL_AD_REASON_OFFSET + 255) {
        (void)buf_printf(why, "the other side refused the TLS handshake: %s",
                         SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET));
    } else if (reason == SSL_R_CALLBACK_FAILED && tc->wants_proof) {
        (void)buf_puts(why, "an authority's question (acme-tls/1) about a name that is not being proven");
    } else if (error == 0 || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        return why_closed(tc, why);
    } else {
        const char *text = text_of(error), *reason_text = ERR_reason_error_string(error);
        if (text != NULL)
            (void)buf_puts(why, text);
        else
            (void)buf_printf(why, "the TLS handshake failed: %s", reason_text == NULL ? "" : reason_text);
    }
    return ERR_TLS;
}
