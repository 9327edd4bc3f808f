#include "ext/gzip.h"

#include "base/mem.h"

#include <zlib.h>

enum { WINDOW_BITS = 15, AS_GZIP = 16, MEMORY_LEVEL = 8, PIECE = 4096 };

static voidpf give(voidpf opaque, uInt n, uInt size)
{
    UNUSED(opaque);
    return mem_alloc_array(n, size);
}

static void take_back(voidpf opaque, voidpf p)
{
    UNUSED(opaque);
    mem_free(p);
}

/* The library has as much to read as it wants; what it writes goes by pieces, so that out need not be as
 * large as it might become. */
static bool pack(z_stream *z, struct buf *out)
{
    unsigned char piece[PIECE];
    int rc = Z_OK;
    while (rc == Z_OK) {
        z->next_out = piece;
        z->avail_out = sizeof piece;
        rc = deflate(z, Z_FINISH);
        if ((rc == Z_OK || rc == Z_STREAM_END) && !buf_put(out, str_of(piece, sizeof piece - z->avail_out)))
            return false;
    }
    return rc == Z_STREAM_END;
}

bool gzip_pack(struct str octets, struct buf *out)
{
    size_t start = out->n;
    z_stream z = {.zalloc = give, .zfree = take_back};
    if (octets.n > UINT32_MAX || deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, WINDOW_BITS + AS_GZIP,
                                              MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    z.next_in = (z_const Bytef *)(uintptr_t)octets.p;
    z.avail_in = (uInt)octets.n;
    bool ok = pack(&z, out);
    (void)deflateEnd(&z);
    if (!ok)
        out->n = start;
    return ok;
}
