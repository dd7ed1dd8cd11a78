use super::*;

const START_TIMEOUT: Duration = Duration::from_secs(60);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
const MOMENT: Duration = Duration::from_millis(1);
const NO_RETRY: Ending = Ending::BuildFailed { may_retry: false };

/// A crew whose processes exist in name only, and a clock that is moved by hand.
struct Drill {
    crew: Crew,
    now: Instant,
    /// What was done since it was looked at last, forks by their places.
    done: Vec<Action>,
}

impl Drill {
    fn new(workers: usize) -> Self {
        let rules = Rules { workers, start_timeout: START_TIMEOUT, drain_timeout: DRAIN_TIMEOUT };
        let mut drill = Self { crew: Crew::new(rules), now: Instant::now(), done: Vec::new() };
        drill.settle();
        drill
    }

    /// One whose workers serve, and have for long.
    fn serving(workers: usize) -> Self {
        let mut drill = Self::new(workers);
        drill.all_ready();
        drill.pass(YOUNG);
        drill.done.clear();
        drill
    }

    /// Does what there is to do, and holds each step against what must never happen.
    fn settle(&mut self) {
        for _ in 0..1000 {
            let Some(action) = self.crew.decide(self.now) else { return };
            match action {
                Action::Fork { place, generation } => {
                    assert!(!self.crew.is_stopping());
                    assert!(place < self.crew.wanted);
                    self.crew.forked(place, generation, self.now);
                    let coming = |member: &&Member| member.place == place && member.is_present();
                    let at_place = self.crew.members.iter().filter(coming).count();
                    assert!(at_place <= 4, "{at_place} at place {place}: {:#?}", self.crew);
                }
                Action::Retire { member, why, .. } => self.assert_dispensable(member, why),
                Action::Ended => {
                    assert!(self.crew.members.is_empty());
                    self.done.push(action);
                    return;
                }
                _ => {}
            }
            self.done.push(action);
        }
        panic!("there is always something to do: {:#?}", self.crew);
    }

    /// Nobody who serves is sent away before somebody else does.
    fn assert_dispensable(&self, id: MemberId, why: Why) {
        let member = self.crew.members.iter().find(|member| member.id == id).unwrap();
        if member.ready.is_none() || why == Why::Stop {
            return assert!(why != Why::Stop || self.crew.is_stopping());
        }
        let serving = || self.crew.members.iter().filter(|other| other.is_serving());
        let allowed = match why {
            Why::Reload | Why::Worn(_) => {
                let newer = |other: &&Member| (other.generation, other.id) > (member.generation, member.id);
                serving().filter(newer).any(|other| other.place == member.place)
            }
            Why::Superfluous => member.place >= self.crew.wanted && serving().next().is_some(),
            Why::ReloadAbandoned => {
                serving().any(|other| other.place == member.place) && member.generation > self.crew.generation
            }
            _ => false,
        };
        assert!(allowed, "{member:?} leaves for {why:?}: {:#?}", self.crew);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.settle();
    }

    fn ready(&mut self, id: MemberId) {
        self.crew.ready(id, self.now);
        self.settle();
    }

    fn all_ready(&mut self) {
        while let Some(id) = self.ids(|member| member.state == State::Starting).first().copied() {
            self.ready(id);
        }
    }

    fn end(&mut self, id: MemberId, ending: Ending) -> Consequence {
        let consequence = self.crew.ended(id, ending, self.now);
        if consequence == Consequence::Fatal {
            self.crew.stop(true, self.now);
        }
        self.settle();
        consequence
    }

    /// Those who were told to go do.
    fn all_leave(&mut self) {
        while let Some(id) = self.ids(|member| !member.is_present()).first().copied() {
            assert_eq!(self.end(id, Ending::Other), Consequence::Expected);
        }
    }

    fn ids(&self, of: impl Fn(&Member) -> bool) -> Vec<MemberId> {
        let mut ids: Vec<MemberId> =
            self.crew.members.iter().filter(|member| of(member)).map(|member| member.id).collect();
        ids.sort_unstable();
        ids
    }

    fn serving_ids(&self) -> Vec<MemberId> {
        self.ids(Member::is_serving)
    }

    /// What was done since this was asked last.
    fn done(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.done)
    }
}

fn fork(place: usize, generation: u32) -> Action {
    Action::Fork { place, generation }
}

fn retire(member: MemberId, why: Why) -> Action {
    Action::Retire { member, quick: false, why }
}

#[test]
fn a_crew_is_ready_when_all_its_workers_are() {
    let mut drill = Drill::new(2);
    assert_eq!(drill.done(), [fork(0, 1), fork(1, 1)]);
    drill.ready(2);
    assert_eq!(drill.done(), []);
    drill.ready(1);
    assert_eq!(drill.done(), [Action::Ready]);
}

#[test]
fn a_first_worker_that_ends_before_all_serve_is_the_end() {
    for (ready_first, ending) in [(false, Ending::Other), (false, NO_RETRY), (true, Ending::Other)] {
        let mut drill = Drill::new(2);
        if ready_first {
            drill.ready(1);
        }
        assert_eq!(drill.end(1, ending), Consequence::Fatal);
        assert!(drill.done().contains(&Action::Retire { member: 2, quick: true, why: Why::Stop }));
        drill.all_leave();
        assert_eq!(drill.done(), [Action::Ended]);
    }
}

#[test]
fn a_reload_replaces_all_once_all_the_new_ones_serve() {
    let mut drill = Drill::serving(2);
    drill.crew.reload();
    drill.settle();
    assert_eq!(drill.done(), [fork(0, 2), fork(1, 2)]);
    drill.ready(3);
    assert_eq!(drill.done(), [], "one of two is not enough");
    drill.ready(4);
    assert_eq!(drill.done(), [Action::Reloaded, retire(1, Why::Reload), retire(2, Why::Reload)]);
    drill.all_leave();
    assert_eq!(drill.serving_ids(), [3, 4]);
}

#[test]
fn a_reload_whose_worker_fails_leaves_exactly_those_that_served() {
    for ending in [Ending::Other, NO_RETRY, Ending::BuildFailed { may_retry: true }] {
        let mut drill = Drill::serving(3);
        drill.crew.reload();
        drill.settle();
        drill.ready(4);
        drill.done();
        assert_eq!(drill.end(5, ending), Consequence::ReloadAbandoned);
        assert_eq!(drill.done(), [retire(4, Why::ReloadAbandoned), retire(6, Why::ReloadAbandoned)]);
        drill.all_leave();
        drill.pass(Duration::from_secs(3600));
        assert_eq!((drill.done(), drill.serving_ids()), (vec![], vec![1, 2, 3]));
    }
}

#[test]
fn workers_of_a_reload_that_fail_together_are_no_reason_to_give_up_their_places() {
    let mut drill = Drill::serving(2);
    drill.crew.reload();
    drill.settle();
    for id in [3, 4] {
        assert_eq!(drill.crew.ended(id, NO_RETRY, drill.now), Consequence::ReloadAbandoned);
    }
    drill.settle();
    drill.done();
    assert_eq!(drill.end(1, Ending::Other), Consequence::Replaced);
    assert_eq!(drill.done(), [fork(0, 1)]);
}

#[test]
fn of_a_reload_that_failed_those_stay_whose_predecessors_have_died_meanwhile() {
    let mut drill = Drill::serving(2);
    drill.crew.reload();
    drill.settle();
    drill.ready(3);
    assert_eq!(drill.end(1, Ending::Other), Consequence::Replaced);
    assert_eq!(drill.end(4, Ending::Other), Consequence::ReloadAbandoned);
    assert_eq!(drill.serving_ids(), [2, 3]);
    drill.done();
    drill.all_ready();
    assert_eq!(drill.done(), [retire(3, Why::ReloadAbandoned)]);
}

#[test]
fn a_reload_whose_worker_is_not_ready_in_time_is_given_up_once_it_has_ended() {
    let mut drill = Drill::serving(1);
    drill.crew.reload();
    drill.settle();
    drill.pass(START_TIMEOUT - MOMENT);
    assert_eq!(drill.done(), [fork(0, 2)]);
    drill.pass(MOMENT);
    drill.pass(MOMENT);
    assert_eq!(drill.done(), [Action::Abort { member: 2, why: Why::StartTimeout }], "and no other is forked");
    assert_eq!(drill.end(2, Ending::Other), Consequence::ReloadAbandoned);
    assert_eq!((drill.done(), drill.serving_ids()), (vec![], vec![1]));
}

#[test]
fn a_reload_that_is_asked_for_during_another_follows_it_however_that_ends() {
    for fails in [false, true] {
        let mut drill = Drill::serving(1);
        (0..3).for_each(|_| drill.crew.reload());
        drill.settle();
        assert_eq!(drill.done(), [fork(0, 2)]);
        if fails {
            assert_eq!(drill.end(2, Ending::Other), Consequence::ReloadAbandoned);
        } else {
            drill.ready(2);
        }
        assert!(drill.done().contains(&fork(0, 3)));
        drill.ready(3);
        drill.all_leave();
        assert_eq!(drill.serving_ids(), [3]);
        assert!(!drill.done().iter().any(|action| matches!(action, Action::Fork { .. })));
    }
}

#[test]
fn a_reload_before_all_serve_is_the_start_itself() {
    let mut drill = Drill::new(1);
    drill.crew.reload();
    drill.ready(1);
    assert_eq!(drill.done(), [fork(0, 1), Action::Ready]);
}

#[test]
fn one_that_dies_after_a_while_is_replaced_at_once() {
    let mut drill = Drill::serving(2);
    assert_eq!(drill.end(1, Ending::Other), Consequence::Replaced);
    assert_eq!(drill.done(), [fork(0, 1)]);
}

#[test]
fn one_that_is_killed_from_outside_is_replaced_at_once_however_often() {
    let mut drill = Drill::serving(1);
    for _ in 0..20 {
        let young = drill.serving_ids()[0];
        assert_eq!(drill.end(young, Ending::Killed), Consequence::Replaced);
        assert_eq!(drill.done(), [fork(0, 1)]);
        drill.all_ready();
        drill.done();
    }
}

#[test]
fn where_workers_die_young_the_next_one_waits_and_other_places_do_not() {
    let mut drill = Drill::serving(2);
    drill.end(1, Ending::Other);
    let mut pauses = Vec::new();
    for _ in 0..5 {
        drill.all_ready();
        let young = *drill.serving_ids().last().unwrap();
        let Consequence::ReplacedAfter(pause) = drill.end(young, Ending::Other) else { panic!() };
        pauses.push(pause.as_millis());
        drill.done();
        drill.pass(pause - MOMENT);
        assert_eq!(drill.done(), []);
        assert_eq!(drill.crew.next_deadline(drill.now), Some(drill.now + MOMENT));
        drill.pass(MOMENT);
        assert_eq!(drill.done(), [fork(0, 1)]);
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1600]);
    assert_eq!(drill.end(2, Ending::Other), Consequence::Replaced);
    assert_eq!(drill.done(), [fork(1, 1)]);
    drill.all_ready();
    drill.pass(YOUNG);
    let survivor = drill.serving_ids()[0];
    assert_eq!(drill.end(survivor, Ending::Other), Consequence::Replaced);
}

#[test]
fn a_reload_does_not_wait_for_what_the_workers_before_it_died_of() {
    let mut drill = Drill::serving(1);
    let mut id = 1;
    for _ in 0..10 {
        drill.end(id, Ending::Other);
        drill.pass(Duration::from_secs(30));
        drill.all_ready();
        id += 1;
    }
    drill.end(id, Ending::Other);
    drill.done();
    drill.crew.reload();
    drill.settle();
    assert_eq!(drill.done(), [fork(0, 1), fork(0, 2)]);
}

#[test]
fn a_place_whose_application_cannot_be_built_stays_empty_until_a_reload() {
    let mut drill = Drill::serving(2);
    drill.end(1, Ending::Other);
    assert_eq!(drill.end(3, NO_RETRY), Consequence::GivenUp);
    drill.done();
    drill.pass(Duration::from_secs(3600));
    assert_eq!(drill.done(), []);
    let deserted = |drill: &Drill| (0..2).map(|place| drill.crew.is_deserted(place)).collect::<Vec<_>>();
    assert_eq!(deserted(&drill), [true, false]);
    drill.crew.reload();
    drill.settle();
    assert_eq!(deserted(&drill), [false, false]);
    drill.all_ready();
    drill.all_leave();
    assert_eq!(drill.serving_ids(), [4, 5]);
}

#[test]
fn when_nobody_can_serve_that_is_the_end() {
    let mut drill = Drill::serving(2);
    drill.end(1, Ending::Other);
    drill.end(2, Ending::Other);
    assert_eq!(drill.end(3, NO_RETRY), Consequence::GivenUp);
    assert_eq!(drill.end(4, NO_RETRY), Consequence::Fatal);
}

#[test]
fn one_that_pauses_can_still_serve() {
    let mut drill = Drill::serving(2);
    drill.end(1, Ending::Other);
    drill.end(2, Ending::Other);
    assert!(matches!(drill.end(3, Ending::Other), Consequence::ReplacedAfter(_)));
    assert_eq!(drill.end(4, NO_RETRY), Consequence::GivenUp);
    drill.pass(Duration::from_secs(1));
    drill.all_ready();
    assert_eq!(drill.serving_ids(), [5]);
}

#[test]
fn one_that_hangs_is_replaced_at_once_and_killed_if_it_does_not_end() {
    let mut drill = Drill::serving(2);
    let abort = drill.crew.hangs(1, drill.now);
    assert_eq!(abort, Some(Action::Abort { member: 1, why: Why::Hangs }));
    assert_eq!(drill.crew.hangs(1, drill.now), None, "it was told");
    drill.settle();
    assert_eq!(drill.done(), [fork(0, 1)]);
    drill.pass(ABORT_TIME);
    assert_eq!(drill.done(), [Action::Kill { member: 1 }]);
    assert_eq!(drill.end(1, Ending::Other), Consequence::Replaced);
    assert_eq!(drill.done(), []);
}

#[test]
fn worn_ones_leave_one_after_another_behind_their_successors() {
    let mut drill = Drill::serving(2);
    drill.crew.wear(1, Wear::Lifetime);
    drill.crew.wear(2, Wear::Requests);
    drill.settle();
    assert_eq!(drill.done(), [fork(0, 1)]);
    drill.ready(3);
    assert_eq!(drill.done(), [retire(1, Why::Worn(Wear::Lifetime)), fork(1, 1)]);
    drill.ready(4);
    assert_eq!(drill.done(), [retire(2, Why::Worn(Wear::Requests))]);
}

#[test]
fn one_that_is_worn_before_it_says_that_it_serves_is_replaced_too() {
    let mut drill = Drill::new(1);
    drill.crew.wear(1, Wear::Requests);
    drill.ready(1);
    assert_eq!(drill.done(), [fork(0, 1), Action::Ready, fork(0, 1)]);
}

#[test]
fn a_worn_one_whose_successor_fails_goes_on() {
    let mut drill = Drill::serving(1);
    drill.crew.wear(1, Wear::Lifetime);
    drill.settle();
    assert!(matches!(drill.end(2, Ending::Other), Consequence::ReplacedAfter(_)));
    drill.pass(Duration::from_secs(1));
    assert_eq!(drill.done(), [fork(0, 1), fork(0, 1)]);
    assert_eq!(drill.end(3, NO_RETRY), Consequence::PredecessorStays);
    drill.pass(Duration::from_secs(3600));
    assert_eq!((drill.done(), drill.serving_ids()), (vec![], vec![1]));
}

#[test]
fn more_workers_are_forked_and_superfluous_ones_leave() {
    let mut drill = Drill::serving(2);
    assert_eq!(drill.crew.resize(1, 64), 3);
    drill.settle();
    assert_eq!(drill.done(), [fork(2, 1)]);
    drill.all_ready();
    assert_eq!(drill.crew.resize(-2, 64), 1);
    drill.settle();
    let superfluous: Vec<Action> = drill.done();
    assert_eq!(superfluous.len(), 2);
    for member in [2, 3] {
        assert!(superfluous.contains(&retire(member, Why::Superfluous)));
    }
    assert_eq!(drill.crew.resize(-9, 64), 1, "one stays");
    assert_eq!(drill.crew.resize(100, 64), 64);
}

#[test]
fn the_last_one_that_serves_is_never_superfluous() {
    let mut drill = Drill::serving(2);
    drill.end(1, Ending::Other);
    drill.end(3, NO_RETRY);
    drill.crew.resize(-1, 64);
    drill.pass(Duration::from_secs(3600));
    assert_eq!(drill.serving_ids(), [2]);
    drill.crew.reload();
    drill.settle();
    drill.all_ready();
    drill.all_leave();
    assert_eq!(drill.serving_ids(), [4]);
}

#[test]
fn a_stop_waits_for_the_lame_duck_delay_and_then_for_the_drain_timeout() {
    let mut drill = Drill::serving(1);
    let delay = Duration::from_secs(5);
    drill.crew.stop(false, drill.now + delay);
    drill.pass(delay - MOMENT);
    assert_eq!(drill.done(), []);
    drill.pass(MOMENT);
    assert_eq!(drill.done(), [retire(1, Why::Stop)]);
    drill.pass(DRAIN_TIMEOUT + MARGIN - MOMENT);
    assert_eq!(drill.done(), []);
    drill.pass(MOMENT);
    assert_eq!(drill.done(), [Action::Kill { member: 1 }]);
    drill.end(1, Ending::Other);
    assert_eq!(drill.done(), [Action::Ended]);
}

#[test]
fn a_quick_stop_overtakes_a_graceful_one() {
    let mut drill = Drill::serving(1);
    drill.crew.stop(false, drill.now + Duration::from_secs(5));
    drill.crew.stop(true, drill.now);
    drill.crew.stop(false, drill.now + Duration::from_secs(5));
    drill.settle();
    assert_eq!(drill.done(), [Action::Retire { member: 1, quick: true, why: Why::Stop }]);
}

#[test]
fn a_second_quick_stop_kills_whoever_hangs() {
    let mut drill = Drill::serving(2);
    drill.crew.stop_quickly(drill.now);
    drill.settle();
    let quick = |member| Action::Retire { member, quick: true, why: Why::Stop };
    assert_eq!(drill.done(), [quick(1), quick(2)]);
    drill.end(1, Ending::Other);
    drill.pass(MOMENT);
    assert_eq!(drill.done(), []);
    drill.crew.stop_quickly(drill.now);
    drill.settle();
    assert_eq!(drill.done(), [Action::Kill { member: 2 }]);
    drill.end(2, Ending::Other);
    assert_eq!(drill.done(), [Action::Ended]);
}

#[test]
fn a_fork_that_fails_is_tried_again_and_ends_a_reload() {
    let mut drill = Drill::serving(1);
    drill.crew.ended(1, Ending::Other, drill.now);
    assert_eq!(
        drill.crew.fork_failed(0, 1, drill.now),
        Consequence::ReplacedAfter(Duration::from_millis(100))
    );
    drill.settle();
    assert_eq!(drill.done(), []);
    drill.pass(Duration::from_millis(100));
    drill.all_ready();
    drill.crew.reload();
    assert_eq!(drill.crew.fork_failed(0, 2, drill.now), Consequence::ReloadAbandoned);
    drill.pass(Duration::from_secs(60));
    assert_eq!(drill.serving_ids(), [2]);
}

#[test]
fn nothing_is_waited_for_that_is_over() {
    let mut drill = Drill::serving(2);
    drill.end(1, Ending::Other);
    drill.end(3, Ending::Other);
    drill.pass(Duration::from_millis(100));
    drill.ready(4);
    drill.crew.stop(false, drill.now);
    for _ in 0..100 {
        let Some(deadline) = drill.crew.next_deadline(drill.now) else { break };
        assert!(deadline > drill.now);
        drill.now = deadline;
        drill.settle();
    }
    assert_eq!(drill.crew.next_deadline(drill.now), None);
}

/// Numbers that look random, from a seed that a failure names.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn of(&mut self, ids: &[MemberId]) -> Option<MemberId> {
        (!ids.is_empty()).then(|| ids[self.below(ids.len())])
    }
}

/// What the world may do to a crew, by chance. `false` if that was its end.
fn befall(drill: &mut Drill, chance: &mut Chance) -> bool {
    let now = drill.now;
    match chance.below(16) {
        0..=4 => {
            if let Some(id) = chance.of(&drill.ids(|member| member.state == State::Starting)) {
                drill.crew.ready(id, now);
            }
        }
        5 | 6 => {
            if let Some(id) = chance.of(&drill.ids(|member| !member.is_present())) {
                drill.end(id, Ending::Other);
            }
        }
        7 => {
            if let Some(id) = chance.of(&drill.ids(|_| true)) {
                let ending =
                    [Ending::Other, NO_RETRY, Ending::BuildFailed { may_retry: true }][chance.below(3)];
                let is_starting = drill.ids(|member| member.state == State::Starting).contains(&id);
                let served = drill.serving_ids();
                let member = drill.crew.members.iter().find(|member| member.id == id);
                let is_new = member.is_some_and(|member| member.generation > drill.crew.generation);
                match drill.end(id, if is_starting { ending } else { Ending::Other }) {
                    Consequence::Fatal => return false,
                    Consequence::ReloadAbandoned => {
                        assert!(is_new);
                        let old = |member: &Member| {
                            member.is_serving() && member.generation == drill.crew.generation
                        };
                        let stayed = drill.ids(old);
                        assert!(stayed.iter().all(|id| served.contains(id)));
                    }
                    _ => {}
                }
            }
        }
        8 => {
            if let Some(id) = chance.of(&drill.serving_ids()) {
                let wear = [Wear::Requests, Wear::Lifetime, Wear::Memory { rss: 1 }][chance.below(3)];
                drill.crew.wear(id, wear);
            }
        }
        9 => {
            if let Some(id) = chance.of(&drill.serving_ids()) {
                drill.crew.hangs(id, now);
            }
        }
        10 => drill.crew.reload(),
        11 => _ = drill.crew.resize(chance.below(5) as isize - 2, 6),
        12..=14 => drill.now += Duration::from_millis([1, 100, 1000, 40_000][chance.below(4)]),
        _ if chance.below(60) == 0 => drill.crew.stop(chance.below(2) == 0, now),
        _ => {}
    }
    drill.settle();
    true
}

#[test]
fn whatever_happens_it_comes_to_rest_with_as_many_workers_as_there_shall_be() {
    for seed in 0..400 {
        let (mut drill, mut chance) = (Drill::new(1 + seed as usize % 4), Chance(seed));
        let went_on = (0..200).all(|_| befall(&mut drill, &mut chance));
        if !went_on || drill.crew.is_stopping() {
            drill.all_ready();
            drill.all_leave();
            assert_eq!(drill.done.last(), Some(&Action::Ended), "seed {seed}: {:#?}", drill.crew);
            continue;
        }
        // Nobody dies any more but those that are told to; a reload mends places that were given up.
        drill.crew.reload();
        for _ in 0..50 {
            drill.settle();
            drill.all_ready();
            while let Some(id) = drill.ids(|member| !member.is_present()).first().copied() {
                drill.end(id, Ending::Other);
            }
            drill.pass(Duration::from_secs(31));
        }
        let (serving, everyone) = (drill.serving_ids(), drill.ids(|_| true));
        assert_eq!(serving, everyone, "seed {seed}: {:#?}", drill.crew);
        let places: std::collections::BTreeSet<usize> = drill.crew.members.iter().map(|m| m.place).collect();
        assert!(places.into_iter().eq(0..drill.crew.wanted), "seed {seed}: {:#?}", drill.crew);
        assert_eq!(serving.len(), drill.crew.wanted, "seed {seed}");
        assert!(drill.crew.members.iter().all(|member| member.generation == drill.crew.generation));
        drill.done.clear();
        drill.pass(Duration::from_secs(3600));
        assert_eq!(drill.done, [], "seed {seed}");
    }
}
