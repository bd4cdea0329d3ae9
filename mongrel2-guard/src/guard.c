/*
 * Keeps Mongrel2 from writing one client's bytes to another client.
 *
 * In Mongrel2, the task that writes to a client sleeps until the client's descriptor is writable. If the client leaves
 * meanwhile, another task closes the descriptor. The kernel gives the lowest free number to the next connection, which
 * is the same number, and the sleeping task goes on with its old buffer on the new connection. Mongrel2 only checks
 * that the number belongs to some connection.
 *
 * This library wraps accept and accept4. It moves each new descriptor to the next higher free number, in a circle, so
 * that a number stays unused for thousands of connections. The sleeping task then finds a dead number and ends.
 *
 * Preload it: LD_PRELOAD=/path/to/libmongrel2-guard.so mongrel2 config.sqlite UUID
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* glibc declares the address of accept as a transparent union. */
#ifdef __GLIBC__
#define ADDRESS __SOCKADDR_ARG
#else
#define ADDRESS struct sockaddr *restrict
#endif

#define EXPORTED __attribute__((visibility("default")))

/* Mongrel2 refuses connections whose number is not below this (MAX_REGISTERED_FDS). */
static const int MONGREL2_BOUND = 64 * 1024;
/* At most this many low numbers are left to descriptors that are not accepted: files, proxied servers, logs. */
static const int LOW_NUMBERS = 1024;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Where the search for the next free number begins; guarded by `lock`. */
static int next_number;

/* The first number that no descriptor may have. Mongrel2 sets the limit to its superpoll.max_fd. */
static int end_of_numbers(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > (rlim_t)MONGREL2_BOUND)
        return MONGREL2_BOUND;
    return (int)limit.rlim_cur;
}

/* Duplicates `fd` to the lowest free number from `from` on, if there is one below `end`. */
static int duplicate(int fd, int command, int from, int end)
{
    int copy = fcntl(fd, command, from);

    if (copy >= end) {
        close(copy);
        return -1;
    }
    return copy;
}

/* Moves `fd` to the next number of the circle. Returns `fd` itself when there is no free number. */
static int move(int fd, int command)
{
    int saved_errno = errno;
    int end = end_of_numbers();
    int first = end / 4 < LOW_NUMBERS ? end / 4 : LOW_NUMBERS;
    int moved;

    pthread_mutex_lock(&lock);
    if (next_number < first || next_number >= end)
        next_number = first;
    moved = duplicate(fd, command, next_number, end);
    if (moved < 0 && next_number > first)
        moved = duplicate(fd, command, first, end);
    if (moved >= 0)
        next_number = moved + 1;
    pthread_mutex_unlock(&lock);

    if (moved >= 0)
        close(fd);
    errno = saved_errno;
    return moved >= 0 ? moved : fd;
}

/* The function that this library hides: libc's, or that of another preloaded library. */
static void *hidden(void **known, const char *name)
{
    void *function = __atomic_load_n(known, __ATOMIC_RELAXED);

    if (function == NULL) {
        function = dlsym(RTLD_NEXT, name);
        __atomic_store_n(known, function, __ATOMIC_RELAXED);
    }
    return function;
}

EXPORTED int accept(int listener, ADDRESS address, socklen_t *restrict size)
{
    static void *known;
    __typeof__(&accept) real;
    int fd;

    *(void **)&real = hidden(&known, "accept");
    if (real == NULL) {
        errno = ENOSYS;
        return -1;
    }
    fd = real(listener, address, size);
    return fd < 0 ? fd : move(fd, F_DUPFD);
}

EXPORTED int accept4(int listener, ADDRESS address, socklen_t *restrict size, int flags)
{
    static void *known;
    __typeof__(&accept4) real;
    int fd;

    *(void **)&real = hidden(&known, "accept4");
    if (real == NULL) {
        errno = ENOSYS;
        return -1;
    }
    fd = real(listener, address, size, flags);
    return fd < 0 ? fd : move(fd, flags & SOCK_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD);
}
