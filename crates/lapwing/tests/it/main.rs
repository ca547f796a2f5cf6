//! The built program, from outside: its commands, its exit codes, its files, its HTTP surface, and what becomes of its results whatever
//! happens to it.

#[cfg(test)]
mod at_work;
#[cfg(test)]
mod dice;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod tables;

#[cfg(test)]
mod run;

#[cfg(test)]
mod killed;
#[cfg(test)]
mod late;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod paused;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod starting;
#[cfg(test)]
mod stopping;
#[cfg(test)]
mod upkeep;

#[cfg(test)]
mod check;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod dead;
#[cfg(test)]
mod help;
#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod monitoring;
#[cfg(test)]
mod report;
#[cfg(test)]
mod schemas;
#[cfg(test)]
mod secrets;
