/* wire/codes_doc_main.c: prints the tables of docs/codes.md (ninja src/wire/codes_doc builds it). */
#include "wire/codes.h"

#include <stdio.h>

int main(void)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    codes_doc(&text);
    bool ok = !text.failed && fwrite(text.p, 1, text.n, stdout) == text.n && fflush(stdout) == 0;
    buf_fini(&text);
    return ok ? 0 : 1;
}
