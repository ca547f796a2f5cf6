//! What is done to them.

use super::house::{House, LIMIT, PARTITIONS, all_go_on};
use crate::dice::Dice;
use std::time::Duration;
use testkit::{Moment, Signal, Trap, until};
use tokio::time::{sleep, timeout};

/// Killed is `kill -9`, and started again at once.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    KillProber,
    KillWriter,
    /// At a moment of its talk with the database.
    KillWriterAt(Moment),
    /// The connection ends at a moment, and the writer lives.
    CutAt(Moment),
    /// The message comes late.
    DelayAt(Moment),
    KillPostgres,
    KillPostgresAt(Moment),
    KillKafka,
    /// A prober is killed while Kafka is away: all that it has sent is not acknowledged.
    KillProberWithoutKafka,
    /// At one moment: as when the power goes.
    KillServices,
    /// Records come that are no results.
    Poison,
    /// A day is there that retention drops, whoever of the keepers comes first.
    OldDay,
    /// A writer is stopped at a moment, until the other has its partitions and has gone on, and then continued.
    Zombie(Moment),
}

/// What takes long is rare.
const ROUNDS: [Act; 34] = [
    Act::KillProberWithoutKafka,
    Act::KillProber,
    Act::KillProber,
    Act::KillProber,
    Act::KillProber,
    Act::KillWriter,
    Act::KillWriter,
    Act::KillWriter,
    Act::KillWriterAt(Moment::CopyDone),
    Act::KillWriterAt(Moment::CopyDone),
    Act::KillWriterAt(Moment::Commit),
    Act::KillWriterAt(Moment::Commit),
    Act::KillWriterAt(Moment::Committed),
    Act::KillWriterAt(Moment::Committed),
    Act::CutAt(Moment::Claim),
    Act::CutAt(Moment::CopyDone),
    Act::CutAt(Moment::Staging),
    Act::CutAt(Moment::Commit),
    Act::CutAt(Moment::Committed),
    Act::CutAt(Moment::Committed),
    Act::CutAt(Moment::Committed),
    Act::DelayAt(Moment::Commit),
    Act::KillPostgres,
    Act::KillPostgresAt(Moment::CopyDone),
    Act::KillPostgresAt(Moment::Commit),
    Act::KillPostgresAt(Moment::Committed),
    Act::KillKafka,
    Act::KillServices,
    Act::Poison,
    Act::Poison,
    Act::OldDay,
    Act::OldDay,
    Act::Zombie(Moment::Begin),
    Act::Zombie(Moment::CopyDone),
];

/// So many acts, in an order that nobody chose.
pub fn list(count: usize, dice: &mut Dice) -> Vec<Act> {
    let mut acts = Vec::with_capacity(count);
    while acts.len() < count {
        let mut more = ROUNDS;
        for left in (1..more.len()).rev() {
            more.swap(left, dice.below(left as u64 + 1) as usize);
        }
        acts.extend(more.into_iter().take(count - acts.len()));
    }
    acts
}

impl House {
    pub async fn perform(&mut self, act: Act, dice: &mut Dice) {
        match act {
            Act::KillProber => self.kill_prober(dice),
            Act::KillWriter => {
                let writer = &mut self.writers[dice.below(2) as usize];
                writer.kill();
                writer.start();
            }
            Act::KillWriterAt(moment) => self.kill_writer_at(moment, dice).await,
            Act::CutAt(moment) => {
                self.held_at(moment).await.1.cut();
                self.lost_answers += u64::from(moment == Moment::Committed);
            }
            Act::DelayAt(moment) => {
                let (_, trap) = self.held_at(moment).await;
                sleep(Duration::from_millis(500 + dice.below(1000))).await;
                trap.pass();
            }
            Act::KillPostgres => {
                self.postgres.kill9();
                self.postgres.restart().await;
            }
            Act::KillPostgresAt(moment) => {
                let (_, trap) = self.held_at(moment).await;
                self.postgres.kill9();
                trap.cut();
                self.lost_answers += u64::from(moment == Moment::Committed);
                self.postgres.restart().await;
            }
            Act::KillKafka => {
                self.kafka.kill9();
                self.kafka.restart().await;
            }
            Act::KillProberWithoutKafka => {
                self.kafka.kill9();
                sleep(Duration::from_millis(1000 + dice.below(2000))).await;
                self.kill_prober(dice);
                self.kafka.restart().await;
            }
            Act::KillServices => {
                self.kafka.kill9();
                self.postgres.kill9();
                tokio::join!(self.kafka.restart(), self.postgres.restart());
            }
            Act::Poison => self.poison(1 + dice.below(5)),
            Act::OldDay => self.make_an_old_day().await,
            Act::Zombie(moment) => self.make_a_zombie(moment).await,
        }
    }

    fn kill_prober(&mut self, dice: &mut Dice) {
        let prober = &mut self.probers[dice.below(2) as usize];
        prober.kill();
        prober.start();
    }

    /// Holds the next writer back that comes to the moment.
    async fn held_at(&self, moment: Moment) -> (usize, Trap) {
        let trap = Trap::hold(moment);
        self.proxies.iter().for_each(|proxy| proxy.set(&trap));
        let port = timeout(LIMIT, trap.sprung()).await;
        let port = port.unwrap_or_else(|_| panic!("within {LIMIT:?} no writer came to {moment:?}"));
        (self.proxies.iter().position(|proxy| proxy.port() == port).unwrap(), trap)
    }

    async fn kill_writer_at(&mut self, moment: Moment, dice: &mut Dice) {
        let (held, trap) = self.held_at(moment).await;
        self.writers[held].kill();
        // Its last word was on its way, or it was not.
        let arrives = dice.below(2) == 0;
        if arrives {
            trap.pass();
        } else {
            trap.cut();
        }
        self.lost_answers += u64::from(moment == Moment::Committed || moment == Moment::Commit && arrives);
        self.writers[held].start();
    }

    async fn make_a_zombie(&mut self, moment: Moment) {
        let (held, trap) = self.held_at(moment).await;
        self.writers[held].signal(Signal::STOP);
        let other = &self.writers[1 - held].role;
        until("the other writer has all partitions", LIMIT, || other.partitions() == PARTITIONS);
        all_go_on(self).await;
        let refused = self.proxies[held].seen(Moment::Refused);
        trap.pass();
        self.writers[held].signal(Signal::CONT);
        let is_refused = || self.proxies[held].seen(Moment::Refused) > refused;
        until("the zombie's compare-and-set is refused", LIMIT, is_refused);
        self.zombies += 1;
    }
}
