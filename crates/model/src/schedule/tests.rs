use super::*;
use crate::target::{IncidentRule, Limits as Expectations, Request, TlsSettings};

const T0: UnixMs = UnixMs(1_800_000_000_000);

fn target(id: &str, url: &str, interval_s: u32) -> Arc<Target> {
    Arc::new(Target {
        id: TargetId::new(id).expect("an id"),
        name: id.into(),
        group: None,
        labels: Arc::default(),
        enabled: true,
        locations: None,
        interval_ms: interval_s * 1000,
        timeout: Duration::from_secs(1),
        retries: 0,
        url: Arc::new(url.parse().expect("a URL")),
        request: Arc::new(Request {
            method: http::Method::GET,
            headers: vec![],
            body: None,
            authorization: None,
            redirects: 10,
            lookup: crate::target::Lookup::default(),
            http: crate::target::Http::default(),
            proxy: None,
            tls: Arc::new(TlsSettings::default()),
            max_body: 10 << 20,
            secrets: Arc::from([]),
        }),
        expect: Arc::new(Expectations::default()),
        warn: Arc::new(Expectations::default()),
        patterns: None,
        incident: IncidentRule::default(),
    })
}

/// `n` targets on one host.
fn crowd(host: &str, n: usize, interval_s: u32) -> Vec<Arc<Target>> {
    (0..n).map(|i| target(&format!("{host}-{i}"), &format!("http://{host}.example/"), interval_s)).collect()
}

fn limits(concurrency: usize, per_host: usize) -> Limits {
    Limits { concurrency, per_host }
}

fn home() -> Location {
    Location::new("home").expect("a location")
}

fn schedule(limits: Limits, targets: &[Arc<Target>]) -> Schedule {
    let mut s = Schedule::new(home(), limits);
    s.set(&home(), limits, targets, T0);
    s
}

/// All that can start at this moment, and the ids of what was late.
fn starts(s: &mut Schedule, now: UnixMs) -> (Vec<Job>, Vec<String>) {
    let (mut jobs, mut late) = (vec![], vec![]);
    loop {
        match s.next(now) {
            Next::Start(job) => jobs.push(job),
            Next::Late(slot) => late.push(slot.target.id.to_string()),
            Next::Wait(_) => return (jobs, late),
        }
    }
}

fn ids(jobs: &[Job]) -> Vec<&str> {
    jobs.iter().map(|j| j.slot.target.id.as_str()).collect()
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Asks every 500 ms, as a running prober does, and ends every check at once.
fn run(s: &mut Schedule, from: UnixMs, to: UnixMs, mut each: impl FnMut(&Slot, UnixMs)) {
    let mut now = from;
    while now <= to {
        let (jobs, late) = starts(s, now);
        assert!(late.is_empty(), "{late:?}");
        for job in jobs {
            each(&job.slot, now);
            s.done(&job, false);
        }
        now = now + ms(500);
    }
}

#[test]
fn the_current_slots_are_checked_at_once_and_then_each_at_its_slot() {
    let targets = [target("a", "http://a.example/", 10), target("b", "http://b.example/", 30)];
    let mut s = schedule(limits(10, 10), &targets);
    let mut seen: Vec<(String, UnixMs, UnixMs)> = vec![];
    run(&mut s, T0, T0 + ms(60_000), |slot, now| seen.push((slot.target.id.to_string(), slot.due_at, now)));
    for t in &targets {
        let slots = Slots::new(t.id.as_str(), "home", t.interval_ms);
        let due: Vec<_> = seen.iter().filter(|(id, ..)| *id == t.id.as_str()).map(|(_, due, _)| *due).collect();
        let mut want = vec![slots.current(T0)];
        while slots.after(*want.last().expect("one")) <= T0 + ms(60_000) {
            want.push(slots.after(*want.last().expect("one")));
        }
        assert_eq!(due, want, "{}", t.id);
    }
    assert!(seen.iter().take(2).all(|(.., now)| *now == T0), "the first ones at once: {seen:?}");
    assert!(seen.iter().skip(2).all(|(_, due, now)| now.since(*due) < ms(500)), "{seen:?}");
}

#[test]
fn a_start_with_more_targets_than_places_is_spread() {
    let targets: Vec<_> = (0..600).map(|i| target(&format!("t{i}"), &format!("http://h{i}.example/"), 60)).collect();
    let mut s = schedule(limits(100, 8), &targets);
    let (mut first, mut per_second) = (HashMap::new(), [0u32; 61]);
    run(&mut s, T0, T0 + ms(60_000), |slot, now| {
        if first.insert(slot.target.id.clone(), slot.due_at).is_none() {
            let slots = Slots::new(slot.target.id.as_str(), "home", 60_000);
            assert!(
                [slots.current(T0), slots.after(T0)].contains(&slot.due_at),
                "the current slot, or the next if that is sooner"
            );
            per_second[usize::try_from(now.since(T0).as_secs()).expect("a minute")] += 1;
        }
    });
    assert_eq!(first.len(), 600);
    assert!(per_second[31..].iter().all(|&n| n == 0), "within 30 s: {per_second:?}");
    assert!(per_second.iter().all(|&n| n < 100), "not all at once: {per_second:?}");
}

#[test]
fn places_are_bounded_overall_and_per_host() {
    let mut s = schedule(limits(5, 3), &[crowd("a", 10, 60), crowd("b", 1, 60)].concat());
    s.places.set_limits(limits(5, 3));
    let (jobs, _) = starts(&mut s, T0 + ms(60_000 - 1));
    assert_eq!(jobs.iter().filter(|j| j.slot.target.id.as_str().starts_with("a-")).count(), 3);
    assert_eq!(ids(&jobs).iter().filter(|i| i.starts_with("b-")).count(), 1);
    assert_eq!(s.in_flight(), 4);
    s.done(&jobs[0], false);
    assert_eq!(starts(&mut s, T0 + ms(60_000 - 1)).0.len(), 1, "a place that is left is taken at once");
}

#[test]
fn dead_hosts_hold_at_most_half_of_the_places() {
    let dead: Vec<_> = (0..20).map(|i| target(&format!("dead-{i}"), &format!("http://dead{i}.example/"), 10)).collect();
    let mut s = schedule(limits(20, 20), &dead);
    for job in &starts(&mut s, T0).0 {
        s.done(job, true);
    }
    // From now on nothing ends: the dead ones get half of the places and no more, whoever else wants one.
    let mut held = vec![];
    let mut ask = |s: &mut Schedule, from: u64, to: u64| {
        for step in from..to {
            held.extend(starts(s, T0 + ms(step * 500)).0);
        }
        let dead = ids(&held).iter().filter(|i| i.starts_with("dead")).count();
        (dead, held.len() - dead)
    };
    assert_eq!(ask(&mut s, 1, 30), (10, 0));
    s.set(&home(), limits(20, 20), &[dead, crowd("well", 30, 10)].concat(), T0 + ms(15_000));
    assert_eq!(ask(&mut s, 30, 80), (10, 10));
}

#[test]
fn suspects_have_at_least_one_place_and_are_trusted_again_once_they_answer() {
    let mut s = schedule(limits(1, 1), &[target("dead", "http://dead.example/", 10)]);
    let (jobs, _) = starts(&mut s, T0);
    s.done(&jobs[0], true);
    let mut seen = 0;
    run(&mut s, T0 + ms(500), T0 + ms(20_000), |_, _| seen += 1);
    assert_eq!(seen, 2);
}

#[test]
fn a_slot_without_a_place_before_the_next_one_is_late() {
    let mut s =
        schedule(limits(1, 1), &[target("slow", "http://h.example/", 10), target("quick", "http://h.example/", 10)]);
    let (jobs, late) = starts(&mut s, T0);
    assert_eq!((jobs.len(), late.len()), (1, 0));
    let mut late: HashMap<String, usize> = HashMap::new();
    for step in 1..=80 {
        let (more, l) = starts(&mut s, T0 + ms(step * 500));
        assert!(more.is_empty());
        l.into_iter().for_each(|id| *late.entry(id).or_default() += 1);
    }
    // 40 s have four slots of each; the last one still waits, and those before the start were nobody's.
    assert_eq!((late["slow"], late["quick"]), (3, 3));
}

#[test]
fn a_target_is_never_checked_twice_at_once() {
    let a = target("a", "http://a.example/", 1);
    let mut s = schedule(limits(10, 10), std::slice::from_ref(&a));
    let (jobs, _) = starts(&mut s, T0);
    let mut late = 0;
    for step in 1..=10 {
        let (more, l) = starts(&mut s, T0 + ms(step * 500));
        assert!(more.is_empty(), "it still runs");
        late += l.len();
    }
    assert!(late >= 3, "{late} of the slots that passed meanwhile are late");
    // Nor when a reload takes it away and brings it back.
    s.set(&home(), limits(10, 10), &[], T0 + ms(5000));
    s.set(&home(), limits(10, 10), std::slice::from_ref(&a), T0 + ms(5000));
    assert!(starts(&mut s, T0 + ms(6200)).0.is_empty());
    s.done(&jobs[0], false);
    assert_eq!(starts(&mut s, T0 + ms(6300)).0.len(), 1);
}

#[test]
fn slots_that_pass_in_a_gap_are_missing_and_never_made_up_for() {
    let a = target("a", "http://a.example/", 10);
    let mut s = schedule(limits(10, 10), std::slice::from_ref(&a));
    run(&mut s, T0, T0 + ms(10_000), |_, _| {});
    let wake = T0 + ms(3_610_000);
    let (jobs, late) = starts(&mut s, wake);
    assert!(jobs.is_empty() && late.is_empty(), "{:?} {late:?}", ids(&jobs));
    let mut due = vec![];
    run(&mut s, wake + ms(500), wake + ms(10_000), |slot, _| due.push(slot.due_at));
    assert_eq!(due, [Slots::new("a", "home", 10_000).after(wake)]);
}

#[test]
fn a_reload_leaves_unchanged_targets_alone() {
    let targets = crowd("a", 5, 30);
    let (mut plain, mut reloaded) = (schedule(limits(10, 10), &targets), schedule(limits(10, 10), &targets));
    let (mut want, mut got) = (vec![], vec![]);
    run(&mut plain, T0, T0 + ms(90_000), |slot, now| want.push((slot.target.id.clone(), slot.due_at, now)));
    let same: Vec<_> = targets.iter().map(|t| Arc::new(Target::clone(t))).collect();
    let mut log = |slot: &Slot, now: UnixMs| got.push((slot.target.id.clone(), slot.due_at, now));
    run(&mut reloaded, T0, T0 + ms(40_000), &mut log);
    reloaded.set(&home(), limits(10, 10), &same, T0 + ms(40_200));
    run(&mut reloaded, T0 + ms(40_500), T0 + ms(90_000), &mut log);
    assert_eq!(got, want);
}

#[test]
fn a_new_target_is_due_at_once_and_a_changed_one_when_its_slot_has_no_result() {
    let (a, b) = (target("a", "http://a.example/", 3600), target("b", "http://b.example/", 3600));
    let mut s = schedule(limits(10, 10), std::slice::from_ref(&a));
    run(&mut s, T0, T0 + ms(1000), |_, _| {});
    let changed = Arc::new(Target { retries: 1, ..Target::clone(&a) });
    s.set(&home(), limits(10, 10), &[Arc::clone(&changed), b], T0 + ms(1200));
    let (jobs, _) = starts(&mut s, T0 + ms(1300));
    assert_eq!(ids(&jobs), ["b"], "a has its result for this slot");
    for j in &jobs {
        s.done(j, false);
    }
    // Another interval has other slots: the current one has no result yet.
    let other = Arc::new(Target { interval_ms: 1000, ..Target::clone(&changed) });
    s.set(&home(), limits(10, 10), &[other], T0 + ms(1400));
    let current = Slots::new("a", "home", 1000).current(T0 + ms(1500));
    let last = Slots::new("a", "home", 3_600_000).current(T0);
    let (jobs, _) = starts(&mut s, T0 + ms(1500));
    assert_eq!(jobs.len(), usize::from(current > last), "slot {current} after the last result {last}");
}

#[test]
fn another_location_has_other_slots_and_no_results_yet() {
    let targets = crowd("a", 3, 3600);
    let mut s = schedule(limits(10, 10), &targets);
    run(&mut s, T0, T0 + ms(1000), |_, _| {});
    let office = Location::new("office").expect("a location");
    s.set(&office, limits(10, 10), &targets, T0 + ms(1200));
    let (jobs, _) = starts(&mut s, T0 + ms(1300));
    let due: Vec<_> = jobs.iter().map(|j| (j.slot.target.id.clone(), j.slot.due_at)).collect();
    let want: Vec<_> = jobs
        .iter()
        .map(|j| (j.slot.target.id.clone(), Slots::new(j.slot.target.id.as_str(), "office", 3_600_000).current(T0)))
        .collect();
    assert_eq!((due.len(), due), (3, want));
}

#[test]
fn a_removed_target_is_not_checked_again() {
    let targets = crowd("a", 3, 5);
    let mut s = schedule(limits(10, 10), &targets);
    run(&mut s, T0, T0 + ms(5000), |_, _| {});
    s.set(&home(), limits(10, 10), &targets[1..], T0 + ms(5100));
    run(&mut s, T0 + ms(5500), T0 + ms(30_000), |slot, _| assert_ne!(slot.target.id, targets[0].id));
}

#[test]
fn other_locations_and_switched_off_targets_are_left_to_others() {
    let away = Arc::new(Target {
        locations: Some([Location::new("office").expect("a location")].into()),
        ..Target::clone(&target("away", "http://a.example/", 5))
    });
    let off = Arc::new(Target { enabled: false, ..Target::clone(&target("off", "http://b.example/", 5)) });
    let mut s = schedule(limits(10, 10), &[away, off]);
    assert!(matches!(s.next(T0 + ms(10_000)), Next::Wait(None)));
}

#[test]
fn a_hundred_thousand_targets_are_spread_over_the_minute() {
    let targets: Vec<_> =
        (0..100_000).map(|i| target(&format!("t{i}"), &format!("http://h{}.example/", i % 5000), 60)).collect();
    let mut s = schedule(limits(1_000_000, 1000), &targets);
    run(&mut s, T0, T0 + ms(60_000), |_, _| {});
    let mut per_second = vec![0f64; 60];
    run(&mut s, T0 + ms(60_500), T0 + ms(120_000), |_, now| {
        per_second[usize::try_from(now.since(T0).as_secs() % 60).expect("below 60")] += 1.0;
    });
    let (sum, max) = (per_second.iter().sum::<f64>(), per_second.iter().fold(0f64, |a, &b| a.max(b)));
    assert!(max / (sum / 60.0) < 1.3, "{max} of {sum}");
}
