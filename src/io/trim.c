#include "io/trim.h"

#include "base/mem.h"

#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

/* Of the parts of a program that nothing writes to: relocated tables are in those that are writable at first,
 * and hold what no file has. */
static int give_back(struct dl_phdr_info *info, size_t size, void *arg)
{
    uintptr_t page = *(const uintptr_t *)arg;
    UNUSED(size);
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t begin = (info->dlpi_addr + p->p_vaddr) & ~(page - 1);
        uintptr_t end = (info->dlpi_addr + p->p_vaddr + p->p_memsz + page - 1) & ~(page - 1);
        if (p->p_type == PT_LOAD && (p->p_flags & PF_W) == 0 && begin != 0 && begin < end)
            (void)madvise((void *)begin, end - begin, MADV_DONTNEED); /* refused: it stays */
    }
    return 0;
}

static void on_time(struct timer *timer)
{
    struct io_trim *t = container_of(timer, struct io_trim, timer);
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    mem_trim();
    (void)dl_iterate_phdr(give_back, &page);
    world_timer_set(t->world, timer, world_now_ms(t->world) + TRIM_EVERY_MS);
}

void io_trim_start(struct io_trim *t, struct io_world *w)
{
    if (t->world != NULL)
        return;
    t->world = io_world_base(w);
    t->timer.fire = on_time;
    world_timer_set(t->world, &t->timer, world_now_ms(t->world) + TRIM_FIRST_MS);
}
