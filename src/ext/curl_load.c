#include "ext/curl_load.h"

#include "base/must.h"

#include <dlfcn.h>
#include <string.h>

/* POSIX lets a pointer to an object hold one to a function; C has no cast for it. */
static bool find(void *library, const char *name, void *out)
{
    void *found = dlsym(library, name);
    memcpy(out, &found, sizeof found);
    return found != NULL;
}

bool curl_load(struct curl_api *out)
{
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    bool ok = library != NULL;
#define X(name) ok = ok && find(library, "curl_" #name, &out->name);
    CURL_FUNCTIONS(X)
#undef X
    return ok;
}
