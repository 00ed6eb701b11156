/* Runs one program and says what it cost, as one line of JSON.
 *
 *   run -o FILE [-c CPU] [-i SECONDS] [-p] -- program argument...
 *
 * -c pins it to a processor, -i interrupts it (SIGINT) after so long, -p gives it a raised priority where that is
 * permitted. Out come: wall and cpu (seconds), delay (seconds that it was ready to run and waited for a processor),
 * hwm (KiB, its peak resident memory) and status.
 *
 * The peak is read when the program is about to exit, by tracing it: ru_maxrss of a child contains the memory of its
 * parent before exec, and a look now and then misses the end. Where it cannot be traced, hwm is -1. Its threads and
 * children are not traced. For the time of short programs there is -n: N runs, no tracing, wall only, as a list. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pid_t child;
static int interrupted;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* The first time asks, the second time, ten seconds later, does not. */
static void on_alarm(int signal) {
    (void)signal;
    kill(child, interrupted++ ? SIGKILL : SIGINT);
    struct itimerval grace = {.it_value = {10, 0}};
    setitimer(ITIMER_REAL, &grace, NULL);
}

static void raise_priority(void) {
    setsid(); /* the scheduler may weigh sessions, not processes */
    int fd = open("/proc/self/autogroup", O_WRONLY);
    if (fd >= 0) {
        if (write(fd, "-10", 3) < 0) { /* not permitted: it goes without */ }
        close(fd);
    }
    setpriority(PRIO_PROCESS, 0, -10);
}

static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static long hwm_of(pid_t pid) {
    char path[64], line[256];
    long kib = -1;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %ld", &kib) == 1) break;
    if (file) fclose(file);
    return kib;
}

static double delay_of(pid_t pid) {
    char path[64];
    unsigned long long ran, waited;
    double delay = -1;
    snprintf(path, sizeof path, "/proc/%d/schedstat", pid);
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%llu %llu", &ran, &waited) == 2) delay = waited / 1e9;
    if (file) fclose(file);
    return delay;
}

int main(int argc, char **argv) {
    const char *out = NULL;
    int cpu = -1, option, priority = 0, runs = 0;
    double limit = 0;
    while ((option = getopt(argc, argv, "+o:c:i:n:p")) != -1) switch (option) {
        case 'o': out = optarg; break;
        case 'c': cpu = atoi(optarg); break;
        case 'i': limit = atof(optarg); break;
        case 'n': runs = atoi(optarg); break;
        case 'p': priority = 1; break;
        default: return 2;
        }
    FILE *report = out ? fopen(out, "w") : NULL;
    if (!report || optind >= argc) return 2;
    signal(SIGALRM, on_alarm);
    /* Here, so that the time of a short program does not contain it; the child inherits it. */
    if (cpu >= 0) pin(cpu);
    if (priority) raise_priority();

    for (int run = 0; run < runs; run++) {
        double started = now();
        if (posix_spawnp(&child, argv[optind], NULL, NULL, argv + optind, environ)) return 127;
        int status;
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
        double wall = now() - started;
        fprintf(report, "%s%.6f", run ? ", " : "{\"walls\": [", wall);
    }
    if (runs) {
        fprintf(report, "]}\n");
        fclose(report);
        return 0;
    }

    double started = now(), ended = 0, delay = -1;
    long hwm = -1;
    int status = 0, seen_exec = 0;
    child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        execvp(argv[optind], argv + optind);
        perror(argv[optind]);
        _exit(127);
    }
    if (limit > 0) {
        struct itimerval timer = {.it_value = {(long)limit, (long)((limit - (long)limit) * 1e6)}};
        setitimer(ITIMER_REAL, &timer, NULL);
    }
    struct rusage usage;
    for (;;) {
        if (wait4(child, &status, 0, &usage) < 0) {
            if (errno == EINTR) continue;
            return 1;
        }
        if (!WIFSTOPPED(status)) break;
        int deliver = 0;
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8)) {
            ended = now();
            hwm = hwm_of(child);
            delay = delay_of(child);
        } else if (WSTOPSIG(status) == SIGTRAP && !seen_exec) {
            seen_exec = 1;
            ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL);
        } else if (status >> 8 != (SIGTRAP | PTRACE_EVENT_EXEC << 8)) {
            deliver = WSTOPSIG(status);
        }
        ptrace(PTRACE_CONT, child, 0, deliver);
    }
    if (!ended) ended = now();
    double cpu_seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
                         (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    fprintf(report, "{\"wall\": %.6f, \"cpu\": %.6f, \"delay\": %.6f, \"hwm\": %ld, \"status\": %d}\n",
            ended - started, cpu_seconds, delay, hwm,
            WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    fclose(report);
    return 0;
}
