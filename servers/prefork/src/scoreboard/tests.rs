use std::{sync::atomic::AtomicBool, thread};

use http::Method;

use super::*;
use crate::post_mortem;

fn request(target: &[u8]) -> RequestId<'_> {
    RequestId::new(7, 1, Some(&Method::GET), target)
}

fn finish(board: &Board, worker: u32, ticket: Ticket) {
    let finish = Finish::new(Outcome::Completed, Some(StatusCode::OK), 5);
    board.exchange_ended(worker, ticket, &finish, Duration::from_millis(1));
}

fn exchange(board: &Board, worker: u32) {
    let ticket = board.exchange_began(worker, request(b"/"));
    finish(board, worker, ticket);
}

/// As many as a process that works through them without pause.
fn exchanges(board: &Board, worker: u32, count: u64) {
    for _ in 0..count {
        board.connection_opened(worker);
        exchange(board, worker);
        board.refused(worker, StatusCode::BAD_REQUEST);
        board.connection_closed(worker);
    }
}

/// What holds in every moment, whoever writes meanwhile.
fn assert_consistent(now: &Statistics, before: &Statistics) {
    let statuses: u64 = now.statuses.iter().sum();
    assert!(statuses >= now.requests + now.refused, "{now:?}");
    assert!(now.latency.count() >= now.requests, "{now:?}");
    assert!(now.completed >= now.requests && now.bytes >= 5 * now.requests, "{now:?}");
    assert!(now.connections >= now.connections_open, "{now:?}");
    for (now, before) in [
        (now.requests, before.requests),
        (now.refused, before.refused),
        (now.connections, before.connections),
        (now.completed, before.completed),
        (now.bytes, before.bytes),
        (now.lost, before.lost),
        (now.latency.count(), before.latency.count()),
    ] {
        assert!(now >= before, "{now} after {before}");
    }
}

#[test]
fn what_processes_have_done_is_added_up() {
    let table = Scoreboard::new().unwrap();
    let (one, other) = (table.take_board().unwrap(), table.take_board().unwrap());
    exchanges(&one, 0, 3);
    exchanges(&one, 1, 4);
    exchanges(&other, 0, 5);
    other.connection_opened(9);
    other.exchange_began(9, request(b"/slow"));
    let statistics = table.statistics();
    assert_eq!((statistics.requests, statistics.refused, statistics.in_flight), (12, 12, 1));
    assert_eq!((statistics.connections, statistics.connections_open), (13, 1));
    assert_eq!((statistics.statuses, statistics.bytes), ([0, 0, 12, 0, 12, 0], 60));
    assert_eq!((statistics.processes, statistics.processes_forked), (2, 2));

    other.clear();
    let later = table.statistics();
    assert_eq!((later.requests, later.in_flight, later.lost), (12, 0, 1));
    assert_eq!((later.connections, later.connections_open), (13, 0));
    assert_eq!((later.processes, later.processes_forked), (1, 2));
}

#[test]
fn readers_see_no_number_that_contradicts_another_while_others_write() {
    const ROUNDS: u64 = if cfg!(miri) { 2 } else { 100 };
    const EXCHANGES: u64 = if cfg!(miri) { 10 } else { 300 };
    let table = Scoreboard::new().unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut before = Statistics::default();
            while !over.load(Acquire) {
                let now = table.statistics();
                assert_consistent(&now, &before);
                before = now;
            }
        });
        for _ in 0..ROUNDS {
            let board = table.take_board().unwrap();
            thread::scope(|scope| {
                scope.spawn(|| exchanges(&board, 0, EXCHANGES));
                scope.spawn(|| exchanges(&board, 1, EXCHANGES));
            });
            board.clear();
        }
        over.store(true, Release);
        reading.join().unwrap();
    });
    let end = table.statistics();
    assert_eq!((end.requests, end.in_flight, end.lost), (2 * ROUNDS * EXCHANGES, 0, 0));
    assert_eq!(end.statuses, [0, 0, end.requests, 0, end.requests, 0]);
}

#[test]
fn a_slot_is_given_to_one_exchange_at_a_time() {
    const THREADS: u32 = 4;
    let count = if cfg!(miri) { 20 } else { 5_000 };
    let table = Scoreboard::new().unwrap();
    let board = table.take_board().unwrap();
    let owners: Vec<AtomicBool> = (0..=SLOTS).map(|_| AtomicBool::new(false)).collect();
    thread::scope(|scope| {
        for worker in 0..THREADS {
            let (board, owners) = (&board, &owners);
            scope.spawn(move || {
                for _ in 0..count {
                    let ticket = board.exchange_began(worker, request(b"/"));
                    assert!(!owners[ticket.0 as usize].swap(true, AcqRel));
                    owners[ticket.0 as usize].store(false, Release);
                    finish(board, worker, ticket);
                }
            });
        }
    });
    assert_eq!(board.unfinished(), []);
    assert_eq!(board.exchanges_ended(), u64::from(THREADS) * count);
}

#[test]
fn exchanges_beyond_the_slots_are_counted_all_the_same() {
    let table = Scoreboard::new().unwrap();
    let board = table.take_board().unwrap();
    let tickets: Vec<Ticket> = (0..SLOTS + 10).map(|_| board.exchange_began(3, request(b"/a"))).collect();
    assert_eq!(tickets.iter().filter(|ticket| ticket.0 == NO_EXCHANGE).count(), 10);
    assert_eq!((board.unfinished().len(), board.exchanges_under_way()), (SLOTS, SLOTS as u64 + 10));
    let lines = post_mortem::exchanges(&board);
    assert_eq!(lines.last().unwrap(), &format!("  and {} more", SLOTS + 10 - (lines.len() - 1)));
    tickets.into_iter().for_each(|ticket| finish(&board, 3, ticket));
    assert_eq!((board.unfinished(), board.exchanges_under_way()), (vec![], 0));
}

#[test]
fn what_a_process_was_at_is_told_with_the_exchange_of_its_event_loop_first() {
    let table = Scoreboard::new().unwrap();
    let board = table.take_board().unwrap();
    let long = [b"/".to_vec(), vec![b'x'; 500]].concat();
    let first = board.exchange_began(0, request(b"/\x1b[31m\"red\""));
    board.exchange_began(1, RequestId::new(8, 2, None, &long));
    let busy = board.exchange_began(1, RequestId::new(9, 3, Some(&Method::POST), b"/busy?x=1"));
    board.polling(0, Some(first));
    board.polling(1, None);
    board.polling(1, Some(busy));
    finish(&board, 0, first);
    // It has the slot of one that an event loop was at, and none is at it.
    board.exchange_began(2, request(b"/new"));
    let texts: Vec<String> = post_mortem::exchanges(&board);
    assert!(texts[0].starts_with("  it was serving POST /busy?x=1 for "), "{texts:?}");
    assert!(texts[0].ends_with(" s, at which its event loop was (connection 9 exchange 3)"), "{texts:?}");
    let rest = texts[1..].join("\n");
    assert!(!rest.contains("event loop"), "{texts:?}");
    assert!(rest.contains(&format!("serving - /{}... for ", "x".repeat(REQUEST_BYTES - 3))), "{texts:?}");
    assert!(rest.contains("serving GET /new for "), "{texts:?}");

    // One that began behind what the loop polled last is where the loop is; threads are at several.
    board.exchange_began(1, request(b"/quick"));
    let texts: Vec<String> = post_mortem::exchanges(&board);
    assert!(texts[0].starts_with("  it was serving GET /quick for "), "{texts:?}");
    assert_eq!(texts.join("\n").matches("event loop").count(), 1, "{texts:?}");

    let control = board.exchange_began(0, request(b"/\x1b[31m\"red\""));
    assert!(post_mortem::exchanges(&board).join("").contains(r#"GET /\x1b[31m\"red\" for"#));
    finish(&board, 0, control);
}

#[test]
fn the_worker_that_is_furthest_behind_counts_and_one_that_never_told_does_not() {
    let table = Scoreboard::new().unwrap();
    let board = table.take_board().unwrap();
    assert_eq!(board.silence(), None);
    board.progress(0);
    board.process().progress[5].store(now() - 4000, Relaxed);
    assert!(board.silence().unwrap() >= Duration::from_secs(4));
    board.progress(5);
    assert!(board.silence().unwrap() < Duration::from_secs(4));
}

#[test]
fn a_board_that_is_taken_again_knows_nothing_of_who_had_it() {
    let table = Scoreboard::new().unwrap();
    let boards: Vec<Board> = std::iter::from_fn(|| table.take_board()).collect();
    assert_eq!(boards.len(), BOARDS);
    for (index, board) in boards.into_iter().enumerate() {
        board.progress(0);
        let ticket = board.exchange_began(0, request(b"/"));
        board.polling(0, Some(ticket));
        if index % 2 == 0 {
            finish(&board, 0, ticket);
        }
        board.clear();
    }
    let board = table.take_board().unwrap();
    assert_eq!((board.silence(), board.unfinished(), board.exchanges_under_way()), (None, vec![], 0));
    let statistics = table.statistics();
    assert_eq!((statistics.requests, statistics.lost), (BOARDS as u64 / 2, BOARDS as u64 / 2));
}

#[test]
fn a_process_is_ahead_if_it_has_more_than_its_share_of_all_who_accept() {
    let table = Scoreboard::new().unwrap();
    // The boards that processes have at the same time may be far apart.
    let boards: Vec<Board> = std::iter::from_fn(|| table.take_board()).collect();
    let [one, other, far] = [&boards[0], &boards[63], &boards[200]];
    let most = |board: &Board| (0..).find(|connections| board.is_ahead(connections + 1)).unwrap();
    // Nobody else accepts.
    other.connection_opened(0);
    one.set_accepting(true);
    assert!(!one.is_ahead(1000));

    other.set_accepting(true);
    assert_eq!(most(one), 3);
    (0..99).for_each(|_| other.connection_opened(0));
    assert_eq!(most(one), 114);
    far.set_accepting(true);
    assert_eq!((most(one), most(far)), (56, 56));
    (0..100).for_each(|_| far.connection_opened(3));
    assert_eq!(most(one), 110);

    // Who leaves or has died is not waited for, and what it had does not count.
    far.set_accepting(false);
    assert_eq!(most(one), 114);
    (0..90).for_each(|_| other.connection_closed(0));
    assert_eq!(most(one), 12);
    boards.into_iter().nth(63).unwrap().clear();
    let again = table.take_board().unwrap();
    again.set_accepting(true);
    let one = Board { table, index: 0 };
    assert_eq!(most(&one), 2);
}
