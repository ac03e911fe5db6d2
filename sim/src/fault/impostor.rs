//! Somebody else in the server's place.

use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

use super::{Act, Dice, Family, Trouble};
use crate::{
    plan::{Millis, who::Who},
    world::World,
};

/// The server dies, and an impostor listens at its control port until the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usurp {
    /// What the impostor does.
    pub how: Imposture,
}

/// What an impostor does with a client that wants to register. It does not know the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Imposture {
    /// It says nothing.
    SaysNothing,
    /// It grants, with a wrong proof.
    WrongProof,
    /// It grants, without a proof.
    NoProof,
    /// It grants, with the client's own proof for its own.
    ReflectsProof,
    /// It challenges with what the client said for itself, and grants with the client's own proof.
    ReflectsNonce,
    /// It challenges with nothing.
    NoChallenge,
    /// It challenges again, and then grants.
    ChallengesTwice,
    /// It grants without a challenge.
    GrantsAtOnce,
    /// It denies, without a proof.
    Denies,
}

impl Imposture {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::SaysNothing,
        Self::WrongProof,
        Self::NoProof,
        Self::ReflectsProof,
        Self::ReflectsNonce,
        Self::NoChallenge,
        Self::ChallengesTwice,
        Self::GrantsAtOnce,
        Self::Denies,
    ];
}

impl Act for Usurp {
    const NAME: &'static str = "usurp";
    const FAMILY: Family = Family::Impostor;

    fn draw(dice: &mut Dice<'_>) -> Self {
        let how = *Imposture::ALL.choose(dice.rng).expect("there are some");
        Self { how }
    }

    fn troubles(&self) -> Trouble {
        Trouble::at(Who::Server)
    }

    fn begin(&self, world: &mut World) -> bool {
        world.usurp(self.how)
    }

    fn end(&self, world: &mut World) {
        world.depose();
    }

    fn lasts_ms(&self) -> (Millis, Millis) {
        (4_000, 14_000)
    }

    fn kills(&self) -> bool {
        true
    }
}
