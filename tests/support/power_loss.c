/* Preloaded into a process: remembers up to where each WAL was synced, so that a test can cut off what was not.
 *
 * The mark lives in a shared mapping of the file $POWER_LOSS_MARK and so outlives a SIGKILL. A write below the mark is
 * SQLite beginning the WAL anew (all of it is in the synced database by then): nothing of the new one is synced yet. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

struct mark { int64_t synced, written, syncs; };
static struct mark *mark;

__attribute__((constructor)) static void map_mark(void) {
    const char *path = getenv("POWER_LOSS_MARK");
    int fd = path ? open(path, O_RDWR) : -1;
    if (fd < 0) return;
    void *at = mmap(NULL, sizeof *mark, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED) mark = at;
}

static int is_wal(int fd) {
    char link[32] = "/proc/self/fd/", path[4096];
    char *end = link + strlen(link), digits[12];
    int count = 0;
    if (!mark || fd < 0) return 0;
    do digits[count++] = '0' + fd % 10; while (fd /= 10);
    while (count) *end++ = digits[--count];
    *end = 0;
    ssize_t length = readlink(link, path, sizeof path);
    return length > 4 && !memcmp(path + length - 4, "-wal", 4);
}

static void wrote(int fd, off_t offset, ssize_t length) {
    if (length <= 0 || !is_wal(fd)) return;
    if (offset < mark->synced) { mark->synced = offset; mark->written = offset; }
    if (offset + length > mark->written) mark->written = offset + length;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) {
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real) real = dlsym(RTLD_NEXT, "pwrite64");
    ssize_t done = real(fd, data, length, offset);
    wrote(fd, offset, done);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return pwrite64(fd, data, length, offset); }

static int synced(int fd, int done, int64_t until) {
    if (done == 0 && is_wal(fd)) { mark->synced = until; mark->syncs++; }
    return done;
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fdatasync");
    int64_t until = mark ? mark->written : 0;
    return synced(fd, real(fd), until);
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fsync");
    int64_t until = mark ? mark->written : 0;
    return synced(fd, real(fd), until);
}
