//! Threads that work in long stretches.

/// Tells the system that this thread works in long stretches (`SCHED_BATCH`), so that it does not take the processor
/// from the thread that wakes it. A system that refuses that goes on as before.
pub fn become_batch_thread() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 is the thread that calls, and the parameters are only read during the call.
    let _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_that_calls_is_changed_and_no_other() {
        let policy = |thread: &str| {
            let stat = std::fs::read_to_string(format!("/proc/{thread}/stat")).unwrap();
            // The name, in brackets, may have spaces; the policy is the 41st field.
            let (_, fields) = stat.rsplit_once(')').unwrap();
            let policy = fields.split_whitespace().nth(38).unwrap();
            policy.parse::<i32>().unwrap()
        };
        let before = policy("thread-self");
        let inside = std::thread::spawn(move || {
            become_batch_thread();
            policy("thread-self")
        });
        let inside = inside.join().unwrap();
        if inside == before {
            println!("skipped: this system has no such threads");
            return;
        }
        assert_eq!((inside, policy("thread-self")), (libc::SCHED_BATCH, before));
    }
}
