//! pyflame-fuzz ROUNDS [FUNCTION]: gives each function its seeds, then so many mutations of them, always the same ones. Needs
//! no engine. An input with which one panics is written to `crash-FUNCTION`.
//! pyflame-fuzz seeds DIRECTORY FUNCTION: writes the seeds into files, for an engine to begin with.

use pyflame_fuzz::FUNCTIONS;
use std::panic;
use std::process::ExitCode;
use std::time::Instant;

/// Vigna's splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ word >> 31) as usize % end.max(1)
    }
}

/// Changes a few places: bytes, words that matter, copies of other parts, ends.
fn mutate(input: &mut Vec<u8>, random: &mut Random) {
    const WORDS: [u64; 8] = [0, 1, u64::MAX, 1 << 63, i64::MAX as u64, 4096, 1 << 40, 0x7fff_ffff];
    for _ in 0..=random.below(6) {
        let (at, length) = (random.below(input.len()), input.len());
        match random.below(7) {
            _ if length == 0 => input.push(random.below(256) as u8),
            0 => input[at] = random.below(256) as u8,
            1 => input[at] ^= 1 << random.below(8),
            2 => input.truncate(at),
            3 => input.insert(at, random.below(256) as u8),
            4 | 5 => {
                let word = if random.below(2) == 0 {
                    WORDS[random.below(8)]
                } else {
                    4096 + random.below(8192) as u64
                };
                let place = input[at & !7..].iter_mut().zip(word.to_le_bytes());
                place.for_each(|(to, byte)| *to = byte);
            }
            _ => {
                let from = random.below(length);
                let part = input[from..length.min(from + 1 + random.below(64))].to_vec();
                input[at..].iter_mut().zip(part).for_each(|(to, byte)| *to = byte);
            }
        }
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [first, directory, function] = &words[..]
        && first == "seeds"
    {
        let row = FUNCTIONS.iter().find(|row| row.0 == function).expect("a function of this name");
        for (number, seed) in row.2().iter().enumerate() {
            std::fs::write(format!("{directory}/seed-{number}"), seed).expect("the directory can be written");
        }
        return ExitCode::SUCCESS;
    }
    let Some(rounds) = words.first().and_then(|word| word.parse().ok()) else {
        eprintln!("usage: pyflame-fuzz ROUNDS [FUNCTION]\n       pyflame-fuzz seeds DIRECTORY FUNCTION");
        return ExitCode::from(2);
    };
    let chosen = |name: &str| words.get(1).is_none_or(|word| word == name);
    for (name, function, seeds) in FUNCTIONS.iter().filter(|row| chosen(row.0)) {
        let (began, seeds, mut random) = (Instant::now(), seeds(), Random(1));
        let mut pool = seeds.clone();
        for round in 0..rounds {
            let seed = random.below(pool.len());
            let mut input = pool[seed].clone();
            if round >= seeds.len() {
                mutate(&mut input, &mut random);
            } else {
                input.clone_from(&seeds[round]);
            }
            if panic::catch_unwind(|| function(&input)).is_err() {
                let file = format!("crash-{name}");
                let written = std::fs::write(&file, &input);
                eprintln!("{name} failed in round {round}: {file} {written:?}");
                return ExitCode::FAILURE;
            }
            // Some mutations are gone on with.
            if random.below(64) == 0 && input.len() < 1 << 16 {
                let place = random.below(pool.len().max(32));
                if place < pool.len() && place >= seeds.len() {
                    pool[place] = input
                } else {
                    pool.push(input)
                }
            }
        }
        println!("{name}: {rounds} inputs in {:.1} s", began.elapsed().as_secs_f64());
    }
    ExitCode::SUCCESS
}
