/* context.h: in which context a function may run, stated once for people, asserts and clang.
 *
 * A public function's declaration starts with a label:
 *   CTX_ANY      any thread
 *   CTX_CONTROL  the control (main) thread only
 *   CTX_DOMAIN   with the lock domain of the device it is about held
 *   CTX_LOOP     on the loop that owns the object
 * The labels are documentation; the body of a function whose label is not CTX_ANY begins with the
 * matching assert_...() (from lock.h, loop.h or core/domain.h), which costs nothing in release builds. */
#ifndef UTIL_CONTEXT_H
#define UTIL_CONTEXT_H

#define CTX_ANY
#define CTX_CONTROL
#define CTX_DOMAIN
#define CTX_LOOP

#if defined(__clang__)
#define THREAD_ATTR(x) __attribute__((x))
#else
#define THREAD_ATTR(x)
#endif

#define LOCK_TYPE THREAD_ATTR(capability("lock"))
/* A label only: clang cannot resolve a sibling member in C before version 20. */
#define GUARDED_BY(l)
#define LOCK_ACQUIRES(...) THREAD_ATTR(acquire_capability(__VA_ARGS__))
#define LOCK_RELEASES(...) THREAD_ATTR(release_capability(__VA_ARGS__))
#define LOCK_HELD(...) THREAD_ATTR(requires_capability(__VA_ARGS__))
#define LOCK_UNCHECKED THREAD_ATTR(no_thread_safety_analysis)

/* True in debug builds: rank and context asserts are compiled in. */
#ifdef RHEA_DEBUG
#define DEBUG_CHECKS 1
#else
#define DEBUG_CHECKS 0
#endif

#endif
