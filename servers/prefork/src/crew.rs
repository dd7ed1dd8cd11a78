//! Who serves, who shall serve, and what is to be done about the difference. Makes no system call and reads no clock: the
//! supervisor asks [`Crew::decide`] what to do until there is nothing, and tells what happened.
//!
//! ```text
//!            fork              ready                retire                 end
//!   (place) ------> starting ---------> serving ---------------> leaving ------->
//!                      |                   |                        |
//!                      | start time-out    | hangs                  | deadline
//!                      +------> aborted <--+                        v
//!                                  |   a moment later            killed
//!                                  +---------------------------->
//! ```
//!
//! There is a number of *places*, one for each worker that shall serve. What makes a process leave is always the same:
//! another one is ready at its place. That goes for a reload, where the new *generation* must be ready at all places first,
//! for a worker that has served for long enough, and for one that uses too much memory.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use crate::backoff::{Backoff, YOUNG};

/// How long a worker that was told to abort has to say where it was.
const ABORT_TIME: Duration = Duration::from_secs(2);

/// How long a worker may take beyond the end that it was given.
const MARGIN: Duration = Duration::from_secs(7);

/// Names a worker process among all that there ever were.
pub(crate) type MemberId = u64;

/// A worker process.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    /// Which of the workers it is, from 0.
    pub(crate) place: usize,
    pub(crate) generation: u32,
    pub(crate) forked: Instant,
    pub(crate) state: State,
    /// Since when it serves, or did.
    ready: Option<Instant>,
    /// Why it shall be replaced.
    worn: Option<Wear>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Starting,
    Serving,
    /// Told to leave, with a deadline.
    Leaving {
        until: Instant,
        quick: bool,
    },
    /// Told to abort.
    Aborting {
        until: Instant,
    },
    Killed,
}

/// Why a worker that serves is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wear {
    Requests,
    Lifetime,
    Memory { rss: u64 },
}

/// What the supervisor has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Fork {
        place: usize,
        generation: u32,
    },
    /// Tell it to finish what it does and end; at once, if so.
    Retire {
        member: MemberId,
        quick: bool,
        why: Why,
    },
    /// Have it say where it is, and end.
    Abort {
        member: MemberId,
        why: Why,
    },
    Kill {
        member: MemberId,
    },
    /// All workers serve for the first time.
    Ready,
    /// All workers of a new generation serve.
    Reloaded,
    /// The last worker is gone.
    Ended,
}

/// Why a worker goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Stop,
    Superfluous,
    Reload,
    ReloadAbandoned,
    Worn(Wear),
    StartTimeout,
    Hangs,
}

/// What became of a worker that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// It was told to.
    Expected,
    /// Another takes its place.
    Replaced,
    /// Another takes its place when the pause is over.
    ReplacedAfter(Duration),
    /// Its place stays empty, as its application cannot be built.
    GivenUp,
    /// The reload is over, and those that served before go on.
    ReloadAbandoned,
    /// Nobody can serve.
    Fatal,
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its application could not be built.
    BuildFailed {
        may_retry: bool,
    },
    Other,
}

/// What the crew goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) workers: usize,
    /// How long a worker may take to become ready.
    pub(crate) start_timeout: Duration,
    /// How long a worker has to finish what it does.
    pub(crate) drain_timeout: Duration,
}

#[derive(Debug)]
pub(crate) struct Crew {
    rules: Rules,
    members: Vec<Member>,
    next_id: MemberId,
    wanted: usize,
    /// Which serves.
    generation: u32,
    /// Which shall serve.
    candidate: Option<u32>,
    /// The newest there ever was.
    newest: u32,
    reload_again: bool,
    /// All workers have served at the same time once.
    complete: bool,
    stop: Option<Stop>,
    backoff: Backoff,
    /// Places whose application cannot be built.
    given_up: HashSet<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Stop {
    quick: bool,
    /// Until then workers go on as usual.
    after: Instant,
}

impl Crew {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            members: Vec::new(),
            next_id: 1,
            wanted: rules.workers,
            generation: 1,
            candidate: None,
            newest: 1,
            reload_again: false,
            complete: false,
            stop: None,
            backoff: Backoff::default(),
            given_up: HashSet::new(),
        }
    }

    /// What to do now; to be asked again until there is nothing.
    pub(crate) fn decide(&mut self, now: Instant) -> Option<Action> {
        if let Some(action) = self.enforce_deadlines(now) {
            return Some(action);
        }
        if let Some(stop) = self.stop {
            if self.members.is_empty() {
                return Some(Action::Ended);
            }
            return if now < stop.after { None } else { self.retire_all(stop.quick, now) };
        }
        self.note_survivors(now);
        if !self.complete && self.serve_everywhere(self.generation) {
            self.complete = true;
            return Some(Action::Ready);
        }
        if let Some(candidate) = self.candidate {
            if self.serve_everywhere(candidate) {
                self.generation = candidate;
                self.candidate = None;
                self.given_up.clear();
                if std::mem::take(&mut self.reload_again) {
                    self.reload();
                }
                return Some(Action::Reloaded);
            }
        }
        self.dismiss(now).or_else(|| self.recruit(now))
    }

    /// When to ask again, if nothing happens before.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let members = self.members.iter().filter_map(|member| match member.state {
            State::Starting => member.forked.checked_add(self.rules.start_timeout),
            State::Serving => member.ready.filter(|_| self.backoff.deaths() > 0).map(|ready| ready + YOUNG),
            State::Leaving { until, .. } | State::Aborting { until } => Some(until),
            State::Killed => None,
        });
        members.chain(self.backoff.until()).chain(self.stop.map(|stop| stop.after)).min()
    }

    /// A worker was forked.
    pub(crate) fn forked(&mut self, place: usize, generation: u32, now: Instant) -> MemberId {
        let id = self.next_id;
        self.next_id += 1;
        let state = State::Starting;
        self.members.push(Member { id, place, generation, forked: now, state, ready: None, worn: None });
        id
    }

    /// A worker could not be forked.
    pub(crate) fn fork_failed(&mut self, generation: u32, now: Instant) -> Consequence {
        if !self.complete {
            return Consequence::Fatal;
        }
        let pause = self.backoff.died_young(now);
        self.abandon(generation).unwrap_or(Consequence::ReplacedAfter(pause))
    }

    /// A worker serves.
    pub(crate) fn ready(&mut self, id: MemberId, now: Instant) {
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id) {
            if member.state == State::Starting {
                member.state = State::Serving;
                member.ready = Some(now);
            }
        }
    }

    /// A worker has served for long enough. `true` if that is news.
    pub(crate) fn wear(&mut self, id: MemberId, wear: Wear) -> bool {
        let member = self.members.iter_mut().find(|member| member.id == id);
        member.is_some_and(|member| member.is_serving() && member.worn.replace(wear).is_none())
    }

    /// A worker serves, but does not get on.
    pub(crate) fn hangs(&mut self, id: MemberId, now: Instant) -> Option<Action> {
        let member = self.members.iter_mut().find(|member| member.id == id && member.is_serving())?;
        member.state = State::Aborting { until: now + ABORT_TIME };
        Some(Action::Abort { member: id, why: Why::Hangs })
    }

    /// A worker has ended.
    pub(crate) fn ended(&mut self, id: MemberId, ending: Ending, now: Instant) -> Consequence {
        let Some(index) = self.members.iter().position(|member| member.id == id) else {
            return Consequence::Expected;
        };
        let member = self.members.swap_remove(index);
        let expected = matches!(member.state, State::Leaving { .. } | State::Killed);
        if expected || self.stop.is_some() {
            return Consequence::Expected;
        }
        if !self.complete {
            return Consequence::Fatal;
        }
        if member.ready.is_some_and(|ready| now.saturating_duration_since(ready) >= YOUNG) {
            return Consequence::Replaced;
        }
        let pause = self.backoff.died_young(now);
        if member.ready.is_none() {
            if let Some(abandoned) = self.abandon(member.generation) {
                return abandoned;
            }
        }
        if ending == (Ending::BuildFailed { may_retry: false }) {
            self.given_up.insert(member.place);
            let nobody = !self.members.iter().any(Member::is_present);
            return if nobody { Consequence::Fatal } else { Consequence::GivenUp };
        }
        Consequence::ReplacedAfter(pause)
    }

    /// Has a new generation take over, as soon as it is ready.
    pub(crate) fn reload(&mut self) {
        if self.candidate.is_some() {
            self.reload_again = true;
        } else if self.complete {
            self.newest += 1;
            self.candidate = Some(self.newest);
        }
        // Else those that are starting are as new as can be.
    }

    /// So many workers more, or fewer; at least one stays. Returns how many there shall be.
    pub(crate) fn resize(&mut self, change: isize, most: usize) -> usize {
        self.wanted = self.wanted.saturating_add_signed(change).clamp(1, most.max(1));
        self.given_up.retain(|place| *place < self.wanted);
        self.wanted
    }

    /// Has all leave, from then on. Only the first of each kind counts.
    pub(crate) fn stop(&mut self, quick: bool, after: Instant) {
        if self.stop.is_none_or(|stop| quick && !stop.quick) {
            self.stop = Some(Stop { quick, after });
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    /// Whether a new generation is on its way.
    pub(crate) fn is_reloading(&self) -> bool {
        self.candidate.is_some()
    }

    /// Whether all workers have been ready at the same time once.
    pub(crate) fn was_complete(&self) -> bool {
        self.complete
    }

    /// How many workers there shall be.
    pub(crate) fn wanted(&self) -> usize {
        self.wanted
    }

    fn enforce_deadlines(&mut self, now: Instant) -> Option<Action> {
        let start_timeout = self.rules.start_timeout;
        self.members.iter_mut().find_map(|member| match member.state {
            State::Starting if now.saturating_duration_since(member.forked) >= start_timeout => {
                member.state = State::Aborting { until: now + ABORT_TIME };
                Some(Action::Abort { member: member.id, why: Why::StartTimeout })
            }
            State::Leaving { until, .. } | State::Aborting { until } if until <= now => {
                // An abort that does not end is still one; who ends is told apart by what it was told first.
                if let State::Leaving { .. } = member.state {
                    member.state = State::Killed;
                } else {
                    member.state = State::Aborting { until: now + MARGIN };
                }
                Some(Action::Kill { member: member.id })
            }
            _ => None,
        })
    }

    /// Those that serve for long enough show that workers can.
    fn note_survivors(&mut self, now: Instant) {
        for member in self.members.iter().filter(|member| member.is_serving()) {
            if member.ready.is_some_and(|ready| now.saturating_duration_since(ready) >= YOUNG) {
                self.backoff.survived(member.forked);
            }
        }
    }

    fn retire_all(&mut self, quick: bool, now: Instant) -> Option<Action> {
        let member = self.members.iter().find(|member| match member.state {
            State::Leaving { quick: already, .. } => quick && !already,
            _ => member.is_present(),
        });
        Some(self.retire(member?.id, quick, Why::Stop, now))
    }

    fn retire(&mut self, id: MemberId, quick: bool, why: Why, now: Instant) -> Action {
        let time = if quick { MARGIN } else { self.rules.drain_timeout.saturating_add(MARGIN) };
        let far = now + Duration::from_secs(365 * 86_400);
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id) {
            member.state = State::Leaving { until: now.checked_add(time).unwrap_or(far), quick };
        }
        Action::Retire { member: id, quick, why }
    }

    fn serve_everywhere(&self, generation: u32) -> bool {
        (0..self.wanted).all(|place| {
            let serves = |member: &Member| member.place == place && member.generation == generation;
            self.members.iter().any(|member| serves(member) && member.is_serving())
        })
    }

    /// Somebody who is no longer needed.
    fn dismiss(&mut self, now: Instant) -> Option<Action> {
        let (member, why) = self.members.iter().filter(|member| member.is_present()).find_map(|member| {
            let current = member.generation == self.generation;
            let why = if member.place >= self.wanted {
                Why::Superfluous
            } else if member.generation < self.generation {
                Why::Reload
            } else if !current && self.candidate != Some(member.generation) {
                Why::ReloadAbandoned
            } else {
                Why::Worn(member.worn.filter(|_| self.has_successor(member))?)
            };
            Some((member.id, why))
        })?;
        Some(self.retire(member, false, why, now))
    }

    /// Somebody who is missing.
    fn recruit(&mut self, now: Instant) -> Option<Action> {
        if self.backoff.until().is_some_and(|until| now < until) {
            return None;
        }
        let present = |place, generation| {
            let same = |member: &Member| member.place == place && member.generation == generation;
            self.members.iter().any(|member| member.is_present() && same(member))
        };
        for place in 0..self.wanted {
            if !present(place, self.generation) && !self.given_up.contains(&place) {
                return Some(Action::Fork { place, generation: self.generation });
            }
            if let Some(generation) = self.candidate.filter(|candidate| !present(place, *candidate)) {
                return Some(Action::Fork { place, generation });
            }
        }
        // One after another, and none while others come.
        if self.members.iter().any(|member| member.state == State::Starting) || self.candidate.is_some() {
            return None;
        }
        let worn = self.members.iter().find(|member| member.worn.is_some() && member.is_serving())?;
        Some(Action::Fork { place: worn.place, generation: worn.generation })
    }

    fn has_successor(&self, worn: &Member) -> bool {
        self.members.iter().any(|member| {
            member.place == worn.place
                && member.generation == worn.generation
                && member.id > worn.id
                && member.is_serving()
        })
    }

    /// Ends the reload if it is to this generation.
    fn abandon(&mut self, generation: u32) -> Option<Consequence> {
        (self.candidate == Some(generation)).then(|| {
            self.candidate = None;
            self.reload_again = false;
            // Nothing is to be tried again.
            self.backoff = Backoff::default();
            Consequence::ReloadAbandoned
        })
    }
}

impl Member {
    pub(crate) fn is_serving(&self) -> bool {
        self.state == State::Serving
    }

    /// Serves, or will.
    fn is_present(&self) -> bool {
        matches!(self.state, State::Starting | State::Serving)
    }
}
