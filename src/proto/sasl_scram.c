#include "proto/sasl_scram.h"

/* The attributes of a message, "x=value" with commas between them. */
struct attributes {
    struct str rest;
    bool more;
};

static struct attributes attributes_of(struct str message)
{
    return (struct attributes){message, true};
}

/* The next one, whose name must be `name`, with a value that is not empty. */
static bool take(struct attributes *a, char name, struct str *value)
{
    if (!a->more)
        return false;
    a->more = str_chr(a->rest, ',') != STR_NPOS;
    struct str piece = str_cut(&a->rest, ',');
    *value = str_skip(piece, 2);
    return piece.n > 2 && piece.p[0] == name && piece.p[1] == '=';
}

/* What follows are extensions that may be there. */
static bool pass_extensions(struct attributes *a)
{
    while (a->more) {
        struct str value;
        char name = a->rest.n > 0 ? a->rest.p[0] : '\0';
        if (!ascii_is_alpha(name) || name == 'm' || !take(a, name, &value))
            return false;
    }
    return true;
}

/* Printable ASCII; a comma can't be in a value. */
static bool is_nonce(struct str s, size_t max)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f)
            return false;
    }
    return s.n > 0 && s.n <= max;
}

static bool is_message(struct str s)
{
    return sasl_is_text_up_to(s, SASL_SCRAM_MAX);
}

bool scram_take_client_first(struct str message, struct scram_client_first *out)
{
    struct str rest = message;
    *out = (struct scram_client_first){0};
    if (!is_message(message) || !sasl_take_gs2(&rest, &out->gs2))
        return false;
    out->bare = rest;
    struct attributes a = attributes_of(rest);
    return take(&a, 'n', &out->user) && take(&a, 'r', &out->nonce) && is_nonce(out->nonce, SASL_NONCE_MAX) &&
           pass_extensions(&a);
}

bool scram_take_server_first(struct str message, struct scram_server_first *out)
{
    struct str number;
    uint64_t iterations;
    *out = (struct scram_server_first){0};
    if (!is_message(message))
        return false;
    struct attributes a = attributes_of(message);
    if (!take(&a, 'r', &out->nonce) || !take(&a, 's', &out->salt) || !take(&a, 'i', &number))
        return false;
    if (number.p[0] == '0' || !str_to_u64(number, UINT32_MAX, &iterations))
        return false;
    out->iterations = (uint32_t)iterations;
    return is_nonce(out->nonce, 2 * SASL_NONCE_MAX) && pass_extensions(&a);
}

bool scram_take_client_final(struct str message, struct scram_client_final *out)
{
    *out = (struct scram_client_final){0};
    if (!is_message(message))
        return false;
    size_t comma = str_rchr(message, ',');
    struct str last = str_skip(message, comma == STR_NPOS ? message.n : comma + 1);
    if (!str_starts(last, STR("p=")))
        return false;
    out->proof = str_skip(last, 2);
    out->without_proof = str_slice(message, 0, comma);
    struct attributes a = attributes_of(out->without_proof);
    return take(&a, 'c', &out->binding) && take(&a, 'r', &out->nonce) &&
           is_nonce(out->nonce, 2 * SASL_NONCE_MAX) && pass_extensions(&a);
}

bool scram_take_server_final(struct str message, struct scram_server_final *out)
{
    *out = (struct scram_server_final){0};
    if (!is_message(message))
        return false;
    bool is_error = message.p[0] == 'e';
    struct attributes a = attributes_of(message);
    return take(&a, is_error ? 'e' : 'v', is_error ? &out->error : &out->signature) && pass_extensions(&a);
}
