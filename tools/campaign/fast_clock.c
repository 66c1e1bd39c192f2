/* A clock that runs faster for programs that load this before the C library (LD_PRELOAD): what they read of the monotonic clock,
 * of the one since boot and of the day's, and how long they wait. The programs themselves are the ones that are shipped.
 *
 * FAST_CLOCK="FROM UNTIL FACTOR": nanoseconds of the machine's monotonic clock between which each one counts for FACTOR. All processes
 * of a scene are given the same, so that they agree on the time as they do on the machine's.
 *
 * Only what our programs and sleep(1) call is here. Timeouts that the kernel counts itself (SO_RCVTIMEO, SQLite's busy handler)
 * stay as long as they are: they are for faults. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef int64_t nanoseconds;
static const nanoseconds SECOND = 1000000000;
static nanoseconds from = INT64_MAX, until = INT64_MAX;
static int64_t factor = 1;
static long (*real_syscall)(long, ...);
static int (*real_clock_gettime)(clockid_t, struct timespec *);
static int (*real_clock_nanosleep)(clockid_t, int, const struct timespec *, struct timespec *);
static int (*real_poll)(struct pollfd *, nfds_t, int);
static int (*real_epoll_wait)(int, struct epoll_event *, int, int);

/* At the first call of any: programs read clocks before constructors of theirs run. */
static void load(void) {
    if (real_clock_gettime) return;
    long long begin, end, times;
    const char *text = getenv("FAST_CLOCK");
    if (text && sscanf(text, "%lld %lld %lld", &begin, &end, &times) == 3 && times > 0) from = begin, until = end, factor = times;
    real_syscall = dlsym(RTLD_NEXT, "syscall");
    real_clock_nanosleep = dlsym(RTLD_NEXT, "clock_nanosleep");
    real_poll = dlsym(RTLD_NEXT, "poll");
    real_epoll_wait = dlsym(RTLD_NEXT, "epoll_wait");
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
}

static nanoseconds number(const struct timespec *time) { return time->tv_sec * SECOND + time->tv_nsec; }

static struct timespec timespec(nanoseconds time) {
    if (time < 0) time = 0;
    return (struct timespec){.tv_sec = time / SECOND, .tv_nsec = time % SECOND};
}

static nanoseconds machine(clockid_t clock) {
    struct timespec time;
    load();
    real_clock_gettime(clock, &time);
    return number(&time);
}

/* The scene's monotonic time of a moment of the machine's, and back. */
static nanoseconds told(nanoseconds at) {
    if (at <= from) return at;
    nanoseconds fast = (at < until ? at : until) - from;
    return at + fast * (factor - 1);
}

static nanoseconds untold(nanoseconds at) {
    if (at <= from) return at;
    nanoseconds fast = (until - from) * factor;
    if (until != INT64_MAX && at - from >= fast) return at - fast + (until - from);
    return from + (at - from + factor - 1) / factor;
}

/* How long the machine has to wait for this long in the scene, from now on. */
static nanoseconds shorter(nanoseconds wait) {
    nanoseconds now = machine(CLOCK_MONOTONIC);
    if (wait <= 0 || wait > INT64_MAX / 2 - now) return wait;
    return untold(told(now) + wait) - now;
}

static int shorter_milliseconds(int wait) {
    if (wait <= 0) return wait;
    return (int)((shorter(wait * (SECOND / 1000)) + SECOND / 1000 - 1) / (SECOND / 1000));
}

static int is_told(clockid_t clock) {
    return clock == CLOCK_MONOTONIC || clock == CLOCK_REALTIME || clock == CLOCK_BOOTTIME;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    load();
    int result = real_clock_gettime(clock, time);
    if (result != 0 || !is_told(clock)) return result;
    nanoseconds now = machine(CLOCK_MONOTONIC);
    *time = timespec(number(time) + told(now) - now);
    return 0;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wait, struct timespec *left) {
    load();
    if (!is_told(clock)) return real_clock_nanosleep(clock, flags, wait, left);
    struct timespec now;
    clock_gettime(clock, &now);
    nanoseconds relative = flags & TIMER_ABSTIME ? number(wait) - number(&now) : number(wait);
    if (relative <= 0) return 0;
    struct timespec real = timespec(shorter(relative));
    /* What is left of an interrupted wait is told as nothing: signals end our programs. */
    if (left) *left = timespec(0);
    return real_clock_nanosleep(CLOCK_MONOTONIC, 0, &real, NULL);
}

int nanosleep(const struct timespec *wait, struct timespec *left) {
    int result = clock_nanosleep(CLOCK_MONOTONIC, 0, wait, left);
    if (result == 0) return 0;
    errno = result;
    return -1;
}

int poll(struct pollfd *files, nfds_t count, int wait) {
    load();
    return real_poll(files, count, shorter_milliseconds(wait));
}

int epoll_wait(int epoll, struct epoll_event *events, int count, int wait) {
    load();
    return real_epoll_wait(epoll, events, count, shorter_milliseconds(wait));
}

/* Rust's standard library waits on futexes by number: FUTEX_WAIT for a time, FUTEX_WAIT_BITSET until a time. */
long syscall(long call, ...) {
    va_list list;
    va_start(list, call);
    long word[6];
    for (int index = 0; index < 6; index++) word[index] = va_arg(list, long);
    va_end(list);
    load();
    struct timespec wait;
    if (call == SYS_futex && word[3]) {
        int kind = (int)word[1] & FUTEX_CMD_MASK;
        const struct timespec *given = (const struct timespec *)word[3];
        if (kind == FUTEX_WAIT) wait = timespec(shorter(number(given)));
        if (kind == FUTEX_WAIT_BITSET && !(word[1] & FUTEX_CLOCK_REALTIME)) wait = timespec(untold(number(given)));
        if (kind == FUTEX_WAIT || (kind == FUTEX_WAIT_BITSET && !(word[1] & FUTEX_CLOCK_REALTIME))) word[3] = (long)&wait;
    }
    return real_syscall(call, word[0], word[1], word[2], word[3], word[4], word[5]);
}
