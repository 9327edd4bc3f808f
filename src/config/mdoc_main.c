/* config/mdoc_main.c: prints the generated part of man/waxwing.lua.5 (ninja src/config/config_mdoc builds
 * it). */
#include "config/config.h"

#include <stdio.h>

int main(void)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    config_schema_mdoc(&text);
    bool ok = !text.failed && fwrite(text.p, 1, text.n, stdout) == text.n && fflush(stdout) == 0;
    buf_fini(&text);
    return ok ? 0 : 1;
}
