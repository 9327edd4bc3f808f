/* base/must.h: assertions that are always compiled in.
 *
 * Errors come in three kinds that never mix: our bug (must() aborts the role and the supervisor restarts it),
 * the world's failure (a returned enum err), and the protocol's answer (data). Remote input never reaches
 * must().
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define must(cond) ((cond) ? (void)0 : must_failed(#cond, __FILE__, __LINE__))
#define must_not_reach() must_failed("unreachable", __FILE__, __LINE__)

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define UNUSED(x) ((void)(x))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
/* The object of type `type` whose member `member` is at `ptr`. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Prints the condition with its place to stderr and aborts. */
_Noreturn void must_failed(const char *cond, const char *file, int line);
