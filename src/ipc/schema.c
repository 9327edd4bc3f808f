#include "ipc/schema.h"

#include "base/limits.h"
#include "crypto/secret.h"

#define put_u8 buf_put_u8
#define put_u16 buf_put_u16
#define put_u32 buf_put_u32
#define put_u64 buf_put_u64
#define put_str buf_put_lstr
#define get_u8 read_u8
#define get_u16 read_u16
#define get_u32 read_u32
#define get_u64 read_u64
#define get_str read_lstr

#define ENCODE(type, field) put_##type(out, m->field);
#define DECODE(type, field) out->field = get_##type(&r);

/* Most messages fit into SMALL octets. The rest takes 128 KiB of stack, each page of which is touched where
 * the compiler probes for a stack that clashes with something: a process that says little never pays for
 * them. */
enum { SMALL = 2048 };

#define M(NAME, name)                                                                                        \
    bool ipc_encode_##name(const struct ipc_##name *m, struct buf *out)                                      \
    {                                                                                                        \
        IPC_FIELDS_##name(ENCODE) return !out->failed;                                                       \
    }                                                                                                        \
    bool ipc_decode_##name(struct str payload, struct ipc_##name *out)                                       \
    {                                                                                                        \
        struct reader r = reader_of(payload);                                                                \
        IPC_FIELDS_##name(DECODE) return reader_done(&r);                                                    \
    }                                                                                                        \
    static __attribute__((noinline)) enum err send_big_##name(struct channel *c, const struct ipc_##name *m, \
                                                              struct handle *give)                           \
    {                                                                                                        \
        char mem[IPC_FRAME_MAX] __attribute__((uninitialized));                                              \
        struct buf b;                                                                                        \
        buf_init_fixed(&b, mem, sizeof mem);                                                                 \
        enum err e =                                                                                         \
            ipc_encode_##name(m, &b) ? channel_send(c, IPC_##NAME, buf_str(&b), give) : ERR_TOO_BIG;         \
        secret_wipe(mem, b.n);                                                                               \
        return e;                                                                                            \
    }                                                                                                        \
    enum err ipc_send_##name(struct channel *c, const struct ipc_##name *m, struct handle *give)             \
    {                                                                                                        \
        char mem[SMALL] __attribute__((uninitialized));                                                      \
        struct buf b;                                                                                        \
        buf_init_fixed(&b, mem, sizeof mem);                                                                 \
        enum err e = ipc_encode_##name(m, &b) ? channel_send(c, IPC_##NAME, buf_str(&b), give)               \
                                              : send_big_##name(c, m, give);                                 \
        secret_wipe(mem, b.n);                                                                               \
        return e;                                                                                            \
    }
IPC_MESSAGES(M)
#undef M

const char *ipc_type_name(uint16_t type)
{
    switch ((enum ipc_type)type) {
#define M(NAME, name)                                                                                        \
    case IPC_##NAME:                                                                                         \
        return #name;
        IPC_MESSAGES(M)
#undef M
    case IPC_NONE:
        break;
    }
    return "unknown";
}
