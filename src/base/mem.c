#include "base/mem.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>

void *mem_alloc(size_t n)
{
    must(n > 0 && n <= PTRDIFF_MAX);
    return calloc(1, n);
}

void *mem_alloc_array(size_t count, size_t size)
{
    size_t n;
    if (__builtin_mul_overflow(count, size, &n) || n > PTRDIFF_MAX)
        return NULL;
    return mem_alloc(n == 0 ? 1 : n);
}

void *mem_grow(void *p, size_t n)
{
    must(n > 0 && n <= PTRDIFF_MAX);
    return realloc(p, n);
}

void *mem_must_alloc(size_t n)
{
    void *p = mem_alloc(n);
    must(p != NULL);
    return p;
}

void mem_free(void *p)
{
    free(p);
}

void mem_trim(void)
{
    (void)malloc_trim(0);
}
