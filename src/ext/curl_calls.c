#include "ext/curl_calls.h"

#include <dlfcn.h>
#include <string.h>

/* C has no conversion from a pointer to data to one to a function; POSIX says that they are alike. */
static bool find(void *library, const char *name, void *out, size_t n)
{
    void *symbol = dlsym(library, name);
    must(n == sizeof symbol);
    memcpy(out, &symbol, sizeof symbol);
    return symbol != NULL;
}

bool curl_calls_open(struct curl_calls *c, const char **why)
{
    *c = (struct curl_calls){.library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL)};
    bool ok = c->library != NULL;
#define X(name) ok = ok && find(c->library, "curl_" #name, &c->name, sizeof c->name);
    CURL_CALLS(X)
#undef X
    if (ok)
        return true;
    *why = c->library == NULL ? dlerror() : "libcurl.so.4 lacks a function that is used here";
    curl_calls_close(c);
    return false;
}

void curl_calls_close(struct curl_calls *c)
{
    if (c->library != NULL)
        (void)dlclose(c->library);
    *c = (struct curl_calls){.library = NULL};
}
