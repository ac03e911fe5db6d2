//! Inputs out of a corpus and a seed: the same ones in every run.

use std::{fs, path::Path};

use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

/// The most changes to one file.
const CHANGES_MAX: usize = 6;
/// The longest piece that is copied, cut out or made up.
const PIECE_LEN_MAX: usize = 64;
/// Numbers at which limits stand.
const TELLING: [u8; 8] = [0x00, 0x01, 0x0c, 0x3f, 0x40, 0x7f, 0x80, 0xff];

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of a target's corpus, in order of their names.
pub fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(root().join("corpus").join(name)).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Inputs without an end: files of the corpus, changed here and there, and now and then anything at all.
pub struct Inputs {
    rng: ChaCha8Rng,
    files: Vec<(String, Vec<u8>)>,
}

impl Inputs {
    pub fn new(seed: u64, files: Vec<(String, Vec<u8>)>) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { rng, files }
    }

    pub fn next(&mut self) -> Vec<u8> {
        if self.rng.random_ratio(1, 10) {
            return self.noise();
        }
        let mut input = self.file();
        for _ in 0..self.rng.random_range(1..=CHANGES_MAX) {
            self.change(&mut input);
        }
        input
    }

    fn file(&mut self) -> Vec<u8> {
        self.files.choose(&mut self.rng).unwrap().1.clone()
    }

    fn noise(&mut self) -> Vec<u8> {
        let len = self.rng.random_range(0..=PIECE_LEN_MAX);
        (0..len).map(|_| self.rng.random()).collect()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.rng.random_range(0..=input.len());
        let end = input.len().min(at + self.rng.random_range(0..=PIECE_LEN_MAX));
        let new = match self.rng.random_range(0..6) {
            0 => vec![self.rng.random()],
            1 => vec![*TELLING.choose(&mut self.rng).unwrap()],
            2 => input[at..end].repeat(2),
            3 => Vec::new(),
            4 => self.noise(),
            _ => {
                let mut other = self.file();
                other.split_off(self.rng.random_range(0..=other.len()))
            }
        };
        // In place, or between.
        let replaced = if self.rng.random() {
            new.len().min(input.len() - at)
        } else {
            0
        };
        let cut = if new.is_empty() { end - at } else { replaced };
        input.splice(at..at + cut, new);
    }
}
