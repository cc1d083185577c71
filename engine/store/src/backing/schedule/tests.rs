use super::*;

/// A name, and how many reads are left.
type Named = (&'static str, usize);

impl Job for Named {
    type Read = &'static str;

    fn take_next(&mut self) -> Option<&'static str> {
        self.1 = self.1.checked_sub(1)?;
        Some(self.0)
    }

    fn is_empty(&self) -> bool {
        self.1 == 0
    }
}

struct Bench {
    schedule: Schedule<Named>,
    in_flight: InFlight,
    now: Instant,
    finished: Vec<Named>,
}

impl Bench {
    fn new() -> Self {
        Self {
            schedule: Schedule::default(),
            in_flight: InFlight::default(),
            now: Instant::now(),
            finished: Vec::new(),
        }
    }

    fn push(&mut self, priority: Priority, name: &'static str, reads: usize) {
        self.schedule.push(priority, (name, reads), self.now);
    }

    /// Names of the jobs whose reads begin next, at most `count`.
    fn take(&mut self, count: usize) -> Vec<&'static str> {
        let next = |_| {
            let (in_flight, now) = (self.in_flight, self.now);
            let next = self.schedule.next(in_flight, now, &mut self.finished);
            next.map(|(_, name)| name)
        };
        (0..count).map_while(next).collect()
    }
}

#[test]
fn a_small_batch_goes_before_a_long_one_that_was_there_first() {
    let mut bench = Bench::new();
    bench.push(Priority::Prefill, "prompt", 100_000);
    bench.take(1_000);
    bench.push(Priority::Decode, "token", 5);
    assert_eq!(
        bench.take(7),
        [
            "token", "token", "token", "token", "token", "prompt", "prompt"
        ]
    );
    assert_eq!(bench.finished, [("token", 0)]);
}

#[test]
fn long_batches_of_one_priority_share_the_drive_equally() {
    let mut bench = Bench::new();
    bench.push(Priority::Prefill, "a", 10_000);
    bench.push(Priority::Prefill, "b", 10_000);
    bench.take(500);
    bench.push(Priority::Prefill, "c", 10_000);
    let taken = bench.take(30 * TURN);
    for job in ["a", "b", "c"] {
        let reads = taken.iter().filter(|&&name| name == job).count();
        assert!(
            reads.abs_diff(10 * TURN) <= TURN,
            "{job} has {reads} of {}",
            taken.len()
        );
    }
    // Nobody waits longer than a turn of each other.
    for turns in taken.windows(2 * TURN + 1) {
        let jobs: std::collections::HashSet<_> = turns.iter().collect();
        assert!(jobs.len() > 1);
    }
}

#[test]
fn whoever_waits_has_a_share_however_much_others_want() {
    let mut bench = Bench::new();
    bench.push(Priority::Decode, "decode", 100_000);
    bench.push(Priority::Prefill, "prefill", 100_000);
    bench.push(Priority::Warm, "warm", 100_000);
    let taken = bench.take(3_200);
    let share = |job| taken.iter().filter(|&&name| name == job).count();
    assert!((95..=100).contains(&share("warm")), "one of 32");
    assert!(
        (380..=400).contains(&share("prefill")),
        "an eighth: {}",
        share("prefill")
    );
    // Without the highest, the next one has its place.
    let mut bench = Bench::new();
    bench.push(Priority::Warm, "warm", 100_000);
    bench.push(Priority::Prefill, "prefill", 100_000);
    let taken = bench.take(3_200);
    assert!((95..=100).contains(&taken.iter().filter(|&&name| name == "warm").count()));
}

#[test]
fn reads_in_flight_are_few_only_while_more_urgent_ones_are_expected() {
    let mut bench = Bench::new();
    bench.push(Priority::Prefill, "prompt", 100_000);
    // Nobody else: as many as there is room for.
    bench.in_flight = [0, ENOUGH_IN_FLIGHT, 0];
    assert_eq!(bench.take(1), ["prompt"]);
    bench.push(Priority::Decode, "token", 1);
    assert_eq!(bench.take(2), ["token"], "the next token comes soon");
    bench.in_flight = [24, ENOUGH_IN_FLIGHT - 1, 0];
    assert_eq!(bench.take(1), ["prompt"], "others in flight do not count");
    // A warm read counts as one of the lower ones.
    bench.in_flight = [0, ENOUGH_IN_FLIGHT - 1, 1];
    assert!(bench.take(1).is_empty());
    bench.now += EXPECTED_AGAIN;
    assert_eq!(bench.take(1), ["prompt"]);
}

#[test]
fn a_job_without_reads_is_finished_and_keeps_nobody_waiting() {
    let mut bench = Bench::new();
    bench.push(Priority::Decode, "cancelled", 0);
    bench.push(Priority::Decode, "next", 1);
    bench.push(Priority::Warm, "last", 1);
    assert_eq!(bench.take(5), ["next", "last"]);
    assert_eq!(bench.finished, [("cancelled", 0), ("next", 0), ("last", 0)]);
    assert!(!bench.schedule.has_next(bench.in_flight, bench.now));
}

#[test]
fn what_is_left_at_the_end_is_given_back() {
    let mut bench = Bench::new();
    bench.push(Priority::Prefill, "begun", 2);
    bench.push(Priority::Decode, "new", 2);
    bench.take(3);
    assert_eq!(bench.schedule.take_all(), [("begun", 1)]);
    assert!(!bench.schedule.has_next(bench.in_flight, bench.now));
}

#[test]
fn a_job_is_finished_with_its_last_read_even_at_the_end_of_its_turn() {
    let mut bench = Bench::new();
    for _ in 0..32 {
        bench.push(Priority::Decode, "other", 1_000);
    }
    bench.push(Priority::Decode, "two turns", 2 * TURN);
    bench.take(33 * TURN + 32 * TURN + TURN - 1);
    assert!(bench.finished.is_empty());
    assert_eq!(bench.take(1), ["two turns"]);
    assert_eq!(bench.finished, [("two turns", 0)]);
}

#[test]
fn warm_reads_do_not_fill_the_room_that_prompts_wait_for() {
    let mut bench = Bench::new();
    bench.push(Priority::Decode, "token", 1);
    bench.take(1);
    bench.push(Priority::Prefill, "prompt", 100_000);
    bench.push(Priority::Warm, "warm", 100_000);
    let mut begun = [0; 3];
    // Whenever a read ends, another may begin; the oldest end first.
    let mut order = std::collections::VecDeque::new();
    for _ in 0..10_000 {
        while let [name] = bench.take(1)[..] {
            let class = if name == "prompt" { 1 } else { 2 };
            bench.in_flight[class] += 1;
            begun[class] += 1;
            order.push_back(class);
        }
        assert_eq!(bench.in_flight.iter().sum::<usize>(), ENOUGH_IN_FLIGHT);
        bench.in_flight[order.pop_front().unwrap()] -= 1;
    }
    assert!(begun[2] * 30 < begun[1], "{begun:?}");
}
