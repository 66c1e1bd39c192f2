/* What the driver's library itself spends on the calls that the meter makes of it: once a second, for each GPU.
 *
 * usage: driver_alone LIBRARY SECONDS
 *
 * Prints the processor time within those calls, in per cent of a core: what is not the meter's own. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef void *device;
typedef struct { unsigned long long at, value; } sample;
enum { UTILIZATION = 1, PROCESSOR_CLOCK = 6, SM = 1, MOST_GPUS = 64, MOST_SAMPLES = 1024 };

static void *library;

static void *symbol(const char *name) {
    void *found = dlsym(library, name);
    if (found) return found;
    fprintf(stderr, "the library has no %s\n", name);
    exit(1);
}

static int64_t spent(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

int main(int count, char **words) {
    if (count != 3 || !(library = dlopen(words[1], RTLD_NOW))) return 2;
    int (*init)(void) = symbol("nvmlInit_v2");
    int (*gpus)(unsigned *) = symbol("nvmlDeviceGetCount_v2");
    int (*by_index)(unsigned, device *) = symbol("nvmlDeviceGetHandleByIndex_v2");
    int (*samples)(device, int, unsigned long long, int *, unsigned *, sample *) = symbol("nvmlDeviceGetSamples");
    int (*clock_info)(device, int, unsigned *) = symbol("nvmlDeviceGetClockInfo");
    int (*energy)(device, unsigned long long *) = symbol("nvmlDeviceGetTotalEnergyConsumption");
    int (*power)(device, unsigned *) = symbol("nvmlDeviceGetPowerUsage");
    unsigned number = 0;
    if (init() || gpus(&number) || number > MOST_GPUS) return 1;
    device device[MOST_GPUS];
    unsigned long long seen[MOST_GPUS][2] = {0};
    for (unsigned index = 0; index < number; index++)
        if (by_index(index, &device[index])) return 1;
    int64_t all = 0;
    int seconds = atoi(words[2]);
    for (int round = 0; round < seconds; round++) {
        int64_t before = spent();
        for (unsigned index = 0; index < number; index++) {
            const int kinds[2] = {UTILIZATION, PROCESSOR_CLOCK};
            for (int kind = 0; kind < 2; kind++) {
                static sample found[MOST_SAMPLES];
                unsigned room = 0;
                int type;
                /* First how many there are, then they. */
                if (samples(device[index], kinds[kind], seen[index][kind], &type, &room, NULL)) continue;
                if (room > MOST_SAMPLES) room = MOST_SAMPLES;
                if (samples(device[index], kinds[kind], seen[index][kind], &type, &room, found)) continue;
                for (unsigned place = 0; place < room; place++)
                    if (found[place].at > seen[index][kind]) seen[index][kind] = found[place].at;
            }
            unsigned value;
            unsigned long long counter;
            clock_info(device[index], SM, &value);
            energy(device[index], &counter);
            power(device[index], &value);
        }
        if (gpus(&number)) return 1;
        /* The first round has the whole of the driver's buffers to give. */
        if (round > 0) all += spent() - before;
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    }
    printf("%.4f\n", seconds > 1 ? 100.0 * (double)all / 1e9 / (seconds - 1) : 0.0);
    return 0;
}
