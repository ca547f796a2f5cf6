//! The `server.properties` of a broker: one node that is its own controller, small, and quick to notice.

use std::fmt;
use std::path::Path;

#[derive(Clone, Debug)]
pub(crate) struct Properties {
    lines: Vec<(String, String)>,
    listeners: Vec<(&'static str, u16)>,
}

impl Properties {
    /// `ports`: for clients, and for the controller that every broker needs.
    pub(crate) fn new(data: &Path, ports: [u16; 2]) -> Self {
        let [clients, controller] = ports;
        let data = data.to_string_lossy();
        let voter = format!("1@127.0.0.1:{controller}");
        let lines = [
            ("process.roles", "broker,controller"),
            ("node.id", "1"),
            ("log.dirs", &data),
            ("controller.quorum.voters", &voter),
            ("controller.listener.names", "CONTROLLER"),
            ("inter.broker.listener.name", "PLAINTEXT"),
            (
                "listener.security.protocol.map",
                "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
            ),
            // A topic that appears because somebody asked for it would hide that nobody made it.
            ("auto.create.topics.enable", "false"),
            ("num.partitions", "1"),
            ("offsets.topic.replication.factor", "1"),
            ("offsets.topic.num.partitions", "4"),
            ("transaction.state.log.replication.factor", "1"),
            ("transaction.state.log.min.isr", "1"),
            ("transaction.state.log.num.partitions", "4"),
            ("group.initial.rebalance.delay.ms", "100"),
            // A consumer's session ends after what the consumer asks for.
            ("group.min.session.timeout.ms", "100"),
            // After `kill -9` a broker is let in again only when the session of its former self has ended. With less, a machine that is
            // busy with all tests makes the controller take a broker for gone that lives.
            ("broker.session.timeout.ms", "5000"),
            ("broker.heartbeat.interval.ms", "250"),
            ("log.cleaner.dedupe.buffer.size", "4194304"),
        ];
        let lines = lines.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Self { lines, listeners: vec![("PLAINTEXT", clients), ("CONTROLLER", controller)] }
    }

    /// A further broker of the cluster whose controller is there, and none itself.
    pub(crate) fn join(&mut self, node: u32, controller: u16) {
        self.listeners.retain(|(protocol, _)| *protocol != "CONTROLLER");
        self.set("process.roles", "broker");
        self.set("node.id", node.to_string());
        self.set("controller.quorum.voters", format!("1@127.0.0.1:{controller}"));
    }

    /// Also listens here, for a protocol that the map above names.
    pub(crate) fn listen(&mut self, protocol: &'static str, port: u16) {
        self.listeners.push((protocol, port));
    }

    /// A later line beats an earlier one.
    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.lines.push((name.into(), value.into()));
    }
}

impl fmt::Display for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listeners = |of: &dyn Fn(&str) -> bool| {
            let chosen = self.listeners.iter().filter(|(protocol, _)| of(protocol));
            chosen.map(|(protocol, port)| format!("{protocol}://127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
        };
        writeln!(f, "listeners={}", listeners(&|_| true))?;
        writeln!(f, "advertised.listeners={}", listeners(&|protocol| protocol != "CONTROLLER"))?;
        self.lines.iter().try_for_each(|(name, value)| writeln!(f, "{name}={}", escaped(value)))
    }
}

/// As Java reads a properties file: a backslash escapes, a line end ends.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_advertised_but_for_the_controllers() {
        let mut properties = Properties::new(Path::new("/data"), [1, 2]);
        properties.listen("SSL", 3);
        let text = properties.to_string();
        assert!(text.contains("\nadvertised.listeners=PLAINTEXT://127.0.0.1:1,SSL://127.0.0.1:3\n"), "{text}");
        assert!(
            text.starts_with("listeners=PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2,SSL://127.0.0.1:3\n"),
            "{text}"
        );
    }

    #[test]
    fn a_further_broker_listens_for_clients_alone() {
        let mut properties = Properties::new(Path::new("/data"), [1, 2]);
        properties.join(3, 4);
        let text = properties.to_string();
        assert!(text.starts_with("listeners=PLAINTEXT://127.0.0.1:1\nadvertised.listeners=PLAINTEXT://127.0.0.1:1\n"));
        assert!(
            text.ends_with("\nprocess.roles=broker\nnode.id=3\ncontroller.quorum.voters=1@127.0.0.1:4\n"),
            "{text}"
        );
    }

    #[test]
    fn a_value_of_several_lines_stays_one() {
        let mut properties = Properties::new(Path::new("/data"), [1, 2]);
        properties.set("key", "a\\b\nc");
        assert!(properties.to_string().ends_with("\nkey=a\\\\b\\nc\n"));
    }
}
