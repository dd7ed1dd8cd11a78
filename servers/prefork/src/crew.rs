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

use std::time::{Duration, Instant};

use crate::backoff::{Backoff, YOUNG};

/// How long a worker that was told to abort has to say where it was.
const ABORT_TIME: Duration = Duration::from_secs(2);

/// How long a worker may take beyond the end that it was given.
pub(crate) const MARGIN: Duration = Duration::from_secs(7);

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
    /// The same, but the one that it should replace still serves, and goes on.
    PredecessorStays,
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
    /// By SIGKILL, which comes from an operator or a system that lacks memory.
    Killed,
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
    places: Vec<Place>,
}

/// What is known of a place, whoever has it. Each has a back-off of its own: where workers die as soon as they serve, the
/// next one waits, and where one was killed in passing nobody does.
#[derive(Clone, Debug, Default)]
struct Place {
    backoff: Backoff,
    /// The application cannot be built.
    given_up: bool,
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
            places: vec![Place::default(); rules.workers],
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
                self.places.fill_with(Place::default);
                if std::mem::take(&mut self.reload_again) {
                    self.reload();
                }
                return Some(Action::Reloaded);
            }
        }
        self.dismiss(now).or_else(|| self.recruit(now))
    }

    /// When to ask again, if nothing happens before.
    pub(crate) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let members = self.members.iter().filter_map(|member| match member.state {
            State::Starting => member.forked.checked_add(self.rules.start_timeout),
            State::Serving => member.ready.map(|ready| ready + YOUNG),
            State::Leaving { until, .. } | State::Aborting { until } => Some(until),
            State::Killed => None,
        });
        let pauses = self.places.iter().filter_map(|place| place.backoff.until());
        // What is over has been decided about.
        members.chain(pauses).chain(self.stop.map(|stop| stop.after)).filter(|deadline| *deadline > now).min()
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
    pub(crate) fn fork_failed(&mut self, place: usize, generation: u32, now: Instant) -> Consequence {
        if !self.complete {
            return Consequence::Fatal;
        }
        self.abandon(generation).unwrap_or_else(|| self.pause(place, now))
    }

    /// A worker serves. `false` if it should not any more.
    pub(crate) fn ready(&mut self, id: MemberId, now: Instant) -> bool {
        let starts = |member: &&mut Member| member.id == id && member.state == State::Starting;
        let Some(member) = self.members.iter_mut().find(starts) else { return false };
        member.state = State::Serving;
        member.ready = Some(now);
        true
    }

    /// A worker has served for long enough. It may say so before it says that it serves, for it does that on two threads.
    pub(crate) fn wear(&mut self, id: MemberId, wear: Wear) {
        let present = |member: &&mut Member| member.id == id && member.is_present();
        if let Some(member) = self.members.iter_mut().find(present) {
            member.worn.get_or_insert(wear);
        }
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
        let consequence = self.replacement(&member, ending, now);
        // Who is left may have been kept although it is superfluous.
        let nobody = !self.members.iter().any(Member::is_present)
            && self.places[..self.wanted].iter().all(|place| place.given_up);
        if nobody { Consequence::Fatal } else { consequence }
    }

    /// Who comes after a worker that was not told to go, and when.
    fn replacement(&mut self, member: &Member, ending: Ending, now: Instant) -> Consequence {
        // Who is killed from outside has shown nothing of what the next will do.
        let lasts = |ready| ending == Ending::Killed || now.saturating_duration_since(ready) >= YOUNG;
        if member.ready.is_some_and(lasts) {
            return Consequence::Replaced;
        }
        // Also the second one that fails, for whom the reload is over already.
        if member.ready.is_none() && member.generation > self.generation {
            self.abandon(member.generation);
            return Consequence::ReloadAbandoned;
        }
        if member.generation < self.generation {
            return Consequence::Expected;
        }
        if member.ready.is_none() && ending == (Ending::BuildFailed { may_retry: false }) {
            if let Some(place) = self.places.get_mut(member.place) {
                place.given_up = true;
            }
            let serves = |other: &Member| other.place == member.place && other.is_serving();
            let stays = self.members.iter().any(serves);
            return if stays { Consequence::PredecessorStays } else { Consequence::GivenUp };
        }
        self.pause(member.place, now)
    }

    fn pause(&mut self, place: usize, now: Instant) -> Consequence {
        let place = self.places.get_mut(place);
        place.map_or(Consequence::Expected, |place| Consequence::ReplacedAfter(place.backoff.died_young(now)))
    }

    /// Has a new generation take over, as soon as it is ready; if there is an old one.
    pub(crate) fn reload(&mut self) {
        if self.candidate.is_some() {
            self.reload_again = true;
        } else if self.complete {
            self.newest += 1;
            self.candidate = Some(self.newest);
            // Whoever asks for it may have mended what workers died of.
            self.places.iter_mut().for_each(|place| place.backoff = Backoff::default());
        }
    }

    /// So many workers more, or fewer; at least one stays. Returns how many there shall be.
    pub(crate) fn resize(&mut self, change: isize, most: usize) -> usize {
        self.wanted = self.wanted.saturating_add_signed(change).clamp(1, most.max(1));
        self.places.truncate(self.wanted);
        self.places.resize_with(self.wanted, Place::default);
        self.wanted
    }

    /// Has all leave, from then on. Only the first of each kind counts.
    pub(crate) fn stop(&mut self, quick: bool, after: Instant) {
        if self.stop.is_none_or(|stop| quick && !stop.quick) {
            self.stop = Some(Stop { quick, after });
        }
    }

    /// A quick stop was asked for by hand: whoever was told to leave by an earlier one, and is still there, is killed.
    pub(crate) fn stop_quickly(&mut self, now: Instant) {
        if self.stop.is_some_and(|stop| stop.quick) {
            for member in &mut self.members {
                if let State::Leaving { until, .. } | State::Aborting { until } = &mut member.state {
                    *until = now.min(*until);
                }
            }
        }
        self.stop(true, now);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    /// Whether nobody serves at this place or will, for its application cannot be built.
    pub(crate) fn is_deserted(&self, place: usize) -> bool {
        let present = |member: &Member| member.place == place && member.is_present();
        self.places.get(place).is_some_and(|place| place.given_up) && !self.members.iter().any(present)
    }

    /// Whether this worker serves, and shall go on.
    pub(crate) fn is_serving(&self, id: MemberId) -> bool {
        self.members.iter().any(|member| member.id == id && member.is_serving())
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
                if let Some(place) = self.places.get_mut(member.place) {
                    place.backoff.survived(member.forked);
                }
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
        let is_staffed = self.members.iter().any(|member| member.is_serving() && member.place < self.wanted);
        let (member, why) = self.members.iter().filter(|member| member.is_present()).find_map(|member| {
            let current = member.generation == self.generation;
            let why = if member.place >= self.wanted {
                // The last one that serves stays, whatever its place: the others may be given up.
                (is_staffed || !member.is_serving()).then_some(Why::Superfluous)?
            } else if member.generation < self.generation {
                Why::Reload
            } else if !current && self.candidate != Some(member.generation) {
                // Those before it may have died meanwhile.
                (!member.is_serving() || self.is_dispensable(member)).then_some(Why::ReloadAbandoned)?
            } else {
                Why::Worn(member.worn.filter(|_| self.has_successor(member))?)
            };
            Some((member.id, why))
        })?;
        Some(self.retire(member, false, why, now))
    }

    /// Somebody who is missing.
    fn recruit(&mut self, now: Instant) -> Option<Action> {
        let rests = |place: usize| self.places[place].backoff.until().is_some_and(|until| now < until);
        let held = |place, generation| {
            let same = |member: &Member| member.place == place && member.generation == generation;
            self.members.iter().any(|member| member.holds_place() && same(member))
        };
        for place in (0..self.wanted).filter(|place| !rests(*place)) {
            if !held(place, self.generation) && !self.places[place].given_up {
                return Some(Action::Fork { place, generation: self.generation });
            }
            if let Some(generation) = self.candidate.filter(|candidate| !held(place, *candidate)) {
                return Some(Action::Fork { place, generation });
            }
        }
        // One after another, and none while others come.
        if self.members.iter().any(|member| member.comes()) || self.candidate.is_some() {
            return None;
        }
        let worn = self.members.iter().filter(|member| member.worn.is_some() && member.is_serving());
        let open = |place: usize| place < self.wanted && !rests(place) && !self.places[place].given_up;
        let place = worn.map(|member| member.place).find(|place| open(*place))?;
        Some(Action::Fork { place, generation: self.generation })
    }

    /// Whether somebody else serves in place of this one, whose reload was given up.
    fn is_dispensable(&self, abandoned: &Member) -> bool {
        let wanted = |generation| generation == self.generation || generation > abandoned.generation;
        let other = |other: &Member| other.place == abandoned.place && wanted(other.generation);
        self.members.iter().any(|member| member.is_serving() && other(member))
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
            // Who asked again meanwhile may have mended what has failed.
            if std::mem::take(&mut self.reload_again) {
                self.reload();
            }
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

    /// Has not served yet, and it is not known that it will not.
    fn comes(&self) -> bool {
        self.ready.is_none() && matches!(self.state, State::Starting | State::Aborting { .. })
    }

    /// Nobody else is forked for its place in its generation. What becomes of a place where one did not get ready is
    /// decided when that one has ended.
    fn holds_place(&self) -> bool {
        self.is_serving() || self.comes()
    }
}

#[cfg(test)]
mod tests;
