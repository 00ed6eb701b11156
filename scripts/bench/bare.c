/* What the kernel charges at least: the loops that any sampling profiler has inside, with nothing around them.
 *
 *   bare sleep HZ SECONDS PID    sleep to absolute deadlines
 *   bare read  HZ SECONDS PID    and one process_vm_readv of 4 ranges on 4 pages
 *   bare stop  HZ SECONDS PID    and interrupt, wait for, continue the main thread; no read
 *
 * HZ 0 does it back to back. Prints the number of turns. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RANGES 4
#define LENGTH 256
#define PAGE 4096
#define SECOND 1000000000LL

static volatile sig_atomic_t ended;
static void on_signal(int signal) { (void)signal; ended = 1; }

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static unsigned long heap_of(pid_t pid) {
    char path[64], line[512];
    unsigned long start = 0, end;
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (strstr(line, "[heap]") && sscanf(line, "%lx-%lx", &start, &end) == 2) break;
    if (file) fclose(file);
    return start;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    int read = !strcmp(argv[1], "read"), stop = !strcmp(argv[1], "stop");
    double hz = atof(argv[2]);
    long long period = hz > 0 ? SECOND / hz : 0;
    long long start = now(), end = start + atof(argv[3]) * SECOND, deadline = start;
    pid_t pid = atoi(argv[4]);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);

    static char into[RANGES * LENGTH];
    struct iovec local = {into, sizeof into}, remote[RANGES];
    unsigned long heap = read ? heap_of(pid) : 0;
    for (int i = 0; i < RANGES; i++) remote[i] = (struct iovec){(void *)(heap + PAGE * (i + 1)), LENGTH};
    if (stop && ptrace(PTRACE_SEIZE, pid, 0, 0)) fail("seize");

    long turns = 0;
    for (; !ended; turns++) {
        if (read && process_vm_readv(pid, &local, 1, remote, RANGES, 0) != sizeof into) fail("read");
        if (stop) {
            int status;
            if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) || waitpid(pid, &status, __WALL) < 0 ||
                ptrace(PTRACE_CONT, pid, 0, 0))
                fail("stop");
        }
        deadline += period;
        long long t = now();
        if (deadline < t && period) deadline += (t - deadline) / period * period;
        if ((deadline > t ? deadline : t) >= end) break;
        struct timespec until = {deadline / SECOND, deadline % SECOND};
        if (period) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
    printf("%ld\n", turns);
    return 0;
}
