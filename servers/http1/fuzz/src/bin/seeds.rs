//! Writes the seeds of each target below the folder that is given, `corpus` if none is. Long ones are left out:
//! what makes them long is repetition, which the fuzzer finds by itself.

use std::path::PathBuf;
use std::{env, fs, io};

use varvel_http1_fuzz::{Seed, corpus, vectors};

fn main() -> io::Result<()> {
    let folder = PathBuf::from(env::args().nth(1).unwrap_or("corpus".into()));
    let write = |target: &str, name: &str, bytes: Vec<u8>| {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)
    };
    let seeds = vectors().into_iter().chain(corpus()).filter(|seed| seed.bytes.len() <= 2000);
    for (number, seed) in seeds.enumerate() {
        let script = Seed::for_round_trip(1 + number as u64, 20);
        write("differential", &seed.name, seed.for_differential(0))?;
        write("differential", &format!("{}-tight", seed.name), seed.for_differential(0xff))?;
        write("cuts", &seed.name, seed.for_cuts(&[]))?;
        write("cuts", &format!("{}-scripted", seed.name), seed.for_cuts(&script))?;
    }
    for number in 1..=200 {
        write("round_trip", &format!("{number}"), Seed::for_round_trip(number, 300))?;
    }
    Ok(())
}
