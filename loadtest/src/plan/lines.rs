//! The formulas of a plan, one after the other: a line may use the results before it.

use super::{
    Audience, Demand, Line, Plan, Sends,
    costs::{
        CostKind::{
            self, DatabaseBytesPerSend, DatabaseCpuPerRow, DatabaseRowsPerSend, GatewayBytesAlone,
            GatewayBytesPerConnection, GatewayCpuPerCommand, GatewayCpuPerConnect,
            GatewayCpuPerDelivery, GatewayCpuPerIdleSecond, GatewayCpuPerSend, NatsCpuPerMessage,
            NodeBytesAlone, NodeBytesPerConnection, NodeBytesPerHotRoom, NodeBytesPerIdleRoom,
            NodeCpuPerCommand, NodeCpuPerSend, WireBytesPerEvent,
        },
        Costs,
    },
    formula::Expression::{self, Cost, Largest, Least, Product, Quotient, RoundUp, Sum, Value},
};

/// Microseconds in a second.
const MICROS: Expression = Value("µs a second", 1_000_000.0);

/// Lines as they come, each result a name for the next.
struct Lines<'a> {
    costs: &'a Costs,
    lines: Vec<Line>,
    used: Vec<CostKind>,
}

impl Lines<'_> {
    /// Adds a line; its result has the line's name in later formulas. What is not known is 0
    /// there, and they say "at least".
    fn add(
        &mut self,
        what: &'static str,
        unit: &'static str,
        note: &'static str,
        formula: &Expression,
    ) -> Expression {
        let mut missing = Vec::new();
        let mut miss = |kind: CostKind| {
            if !missing.contains(&kind) {
                missing.push(kind);
            }
        };
        formula.leaves(&mut |leaf| match leaf {
            Cost(kind) => {
                if !self.used.contains(kind) {
                    self.used.push(*kind);
                }
                if self.costs.get(*kind).is_none() {
                    miss(*kind);
                }
            }
            Value(name, _) => {
                let before = self.lines.iter().find(|line| line.what == *name);
                let of_it = before.map_or(&[][..], |line| &line.missing);
                of_it.iter().copied().for_each(&mut miss);
            }
            Sum(_) | Product(_) | Quotient(_) | Largest(_) | Least(_) | RoundUp(_) => (),
        });
        let line = Line {
            what,
            unit,
            value: formula.value(self.costs),
            missing,
            note,
            symbols: formula.symbols(),
            numbers: formula.numbers(self.costs),
        };
        let value = line.value.unwrap_or_default();
        self.lines.push(line);
        Value(what, value)
    }
}

/// All lines for a demand that was checked.
pub(super) fn plan(demand: &Demand, costs: &Costs) -> Plan {
    let mut lines = Lines {
        costs,
        lines: Vec::new(),
        used: Vec::new(),
    };
    let traffic = Traffic::new(&mut lines, demand);
    let gateways = gateways(&mut lines, demand, &traffic);
    nodes(&mut lines, demand, &traffic);
    nats(&mut lines, demand, &traffic, gateways);
    database(&mut lines, demand, &traffic);
    let known = |kind: &CostKind| Some((*kind, costs.get(*kind)?.clone()));
    let missing = |kind: &&CostKind| costs.get(**kind).is_none();
    Plan {
        used: lines.used.iter().filter_map(known).collect(),
        missing: lines.used.iter().filter(missing).copied().collect(),
        lines: lines.lines,
    }
}

/// What happens a second.
struct Traffic {
    sends: Expression,
    audience: Expression,
    deliveries: Expression,
    connects: Expression,
    commands: Expression,
    users: Expression,
    text: Expression,
}

impl Traffic {
    fn new(lines: &mut Lines<'_>, demand: &Demand) -> Self {
        let users = Value("users", demand.users);
        let rate = match demand.sends {
            Sends::Total(rate) => Value("rate", rate),
            Sends::PerUserHour(rate) => Quotient(vec![
                Product(vec![users.clone(), Value("sends of a user an hour", rate)]),
                Value("seconds an hour", 3_600.0),
            ]),
        };
        let sends = lines.add("sends", "/s", "", &rate);
        let (audience, note) = audience(demand, &users);
        let audience = lines.add("people a send reaches", "", note, &audience);
        let each = Product(vec![sends.clone(), audience.clone()]);
        let deliveries = lines.add("deliveries", "/s", "", &each);
        let minutes = Value("session minutes", demand.session_minutes);
        let connects = Quotient(vec![
            users.clone(),
            minutes,
            Value("seconds a minute", 60.0),
        ]);
        let note = "Evenly over time; after a gateway's end all of its users come at once.";
        Self {
            connects: lines.add("connects", "/s", note, &connects),
            sends,
            audience,
            deliveries,
            commands: Value("commands", demand.commands),
            users,
            text: Value("text bytes", demand.text_bytes),
        }
    }
}

/// How many people a send reaches: at least its sender.
fn audience(demand: &Demand, users: &Expression) -> (Expression, &'static str) {
    let sender = Value("the sender", 1.0);
    let rooms = Value("rooms", demand.rooms);
    match demand.audience {
        Audience::Known(members) => (Value("members", members), ""),
        Audience::Even { rooms_each } => {
            let joined = Product(vec![users.clone(), Value("rooms each", rooms_each)]);
            let even = Quotient(vec![joined, rooms]);
            (Largest(vec![even, sender]), "All rooms are as large.")
        }
        Audience::Zipf {
            rooms_each,
            exponent,
        } => {
            let average = zipf_audience(demand.users, demand.rooms, rooms_each, exponent);
            let average = Value("average of room sizes, weighted by size", average);
            let note = "Size of room n = users × rooms each × n^-zipf ÷ (1^-zipf + 2^-zipf + …), at most \
                        users; whoever sends is one of its people: sum of size² ÷ sum of size.";
            (Largest(vec![average, sender]), note)
        }
    }
}

/// Rooms whose sizes are added one by one; the rest by the integral, which at such n is the sum.
const ONE_BY_ONE: f64 = 100_000.0;

fn zipf_audience(users: f64, rooms: f64, rooms_each: f64, exponent: f64) -> f64 {
    let first = rooms.min(ONE_BY_ONE);
    // ∫ x^-s from the middle before the first room left to the middle after the last one.
    let rest = |s: f64| -> f64 {
        let (from, to) = (first + 0.5, rooms + 0.5);
        if to <= from {
            0.0
        } else if (s - 1.0).abs() < 1e-9 {
            (to / from).ln()
        } else {
            (to.powf(1.0 - s) - from.powf(1.0 - s)) / (1.0 - s)
        }
    };
    let numbers =
        || std::iter::successors(Some(1.0), |n| Some(n + 1.0)).take_while(|n| *n <= first);
    let harmonic = numbers().map(|n: f64| n.powf(-exponent)).sum::<f64>() + rest(exponent);
    let scale = users * rooms_each / harmonic;
    let size = |n: f64| (scale * n.powf(-exponent)).min(users);
    let sizes = numbers().map(size).sum::<f64>() + scale * rest(exponent);
    let squares =
        numbers().map(|n| size(n) * size(n)).sum::<f64>() + scale * scale * rest(2.0 * exponent);
    if sizes > 0.0 { squares / sizes } else { 0.0 }
}

/// Cores by CPU a second.
fn cores(micros: Expression, demand: &Demand) -> Expression {
    let share = Value("utilisation", demand.utilisation);
    Quotient(vec![micros, MICROS, share])
}

fn each(count: &Expression, kind: CostKind) -> Expression {
    Product(vec![count.clone(), Cost(kind)])
}

/// How many processes, with those that may fail.
fn processes(largest: Vec<Expression>, demand: &Demand) -> Expression {
    let mut needs = largest;
    needs.push(Value("one", 1.0));
    Sum(vec![
        RoundUp(Box::new(Largest(needs))),
        Value("spare", demand.spare),
    ])
}

/// Those that carry all when the spare ones have failed.
fn left(count: &Expression, name: &'static str, demand: &Demand) -> Expression {
    match count {
        Value(_, count) => Value(name, count - demand.spare),
        _ => Value(name, 1.0),
    }
}

fn gateways(lines: &mut Lines<'_>, demand: &Demand, traffic: &Traffic) -> Expression {
    let cpu = Sum(vec![
        each(&traffic.deliveries, GatewayCpuPerDelivery),
        each(&traffic.sends, GatewayCpuPerSend),
        each(&traffic.commands, GatewayCpuPerCommand),
        each(&traffic.connects, GatewayCpuPerConnect),
        each(&traffic.users, GatewayCpuPerIdleSecond),
    ]);
    let busy = lines.add("cores of gateways", "cores", "", &cores(cpu, demand));
    let cores_each = Value("cores each", demand.cores_each);
    let by_cores = Quotient(vec![busy, cores_each]);
    let most = Value("connections each", demand.connections_each);
    let by_users = Quotient(vec![traffic.users.clone(), most]);
    let needs = [&by_users, &by_cores].map(|need| need.value(lines.costs).unwrap_or_default());
    let note = if needs[0] > needs[1] {
        "Connections decide (--connections-each: as many as were measured on one gateway, which is not \
         as many as it can hold), not CPU: smaller ones (--cores-each) do as well."
    } else {
        "CPU decides, not connections."
    };
    let count = processes(vec![by_cores, by_users], demand);
    let gateways = lines.add("gateways", "", note, &count);
    let left = left(&gateways, "gateways without the spare", demand);
    let connections = Quotient(vec![traffic.users.clone(), left]);
    let memory = Sum(vec![
        Cost(GatewayBytesAlone),
        Product(vec![connections, Cost(GatewayBytesPerConnection)]),
    ]);
    lines.add("memory of each gateway", "bytes", "", &memory);
    let event = Sum(vec![traffic.text.clone(), Cost(WireBytesPerEvent)]);
    let bytes = Product(vec![traffic.deliveries.clone(), event]);
    let note = "Without TCP and IP.";
    lines.add("bytes to clients a second", "bytes", note, &bytes);
    gateways
}

fn nodes(lines: &mut Lines<'_>, demand: &Demand, traffic: &Traffic) {
    let cpu = Sum(vec![
        each(&traffic.sends, NodeCpuPerSend),
        each(&traffic.commands, NodeCpuPerCommand),
    ]);
    let busy = lines.add("cores of nodes", "cores", "", &cores(cpu, demand));
    let count = processes(
        vec![Quotient(vec![busy, Value("cores each", demand.cores_each)])],
        demand,
    );
    let note = "A single hot room is one node's.";
    let nodes = lines.add("nodes", "", note, &count);
    let rooms = Value("rooms", demand.rooms);
    // A room without anyone is asleep.
    let awake = match demand.audience {
        Audience::Known(members) => {
            let peopled = Quotient(vec![traffic.users.clone(), Value("members", members)]);
            Least(vec![rooms, Largest(vec![peopled, Value("one", 1.0)])])
        }
        Audience::Even { rooms_each } | Audience::Zipf { rooms_each, .. } => {
            let joined = Product(vec![traffic.users.clone(), Value("rooms each", rooms_each)]);
            Least(vec![rooms, joined])
        }
    };
    let note = "Rooms in which someone is, at most; each has one person at least.";
    let awake = lines.add("rooms awake", "", note, &awake);
    let hot = Least(vec![
        awake.clone(),
        Product(vec![traffic.sends.clone(), Value("seconds a minute", 60.0)]),
    ]);
    let note = "Rooms written to within a minute, at most: each send in another room.";
    let hot = lines.add("rooms that are hot", "", note, &hot);
    let quiet = match (&awake, &hot) {
        (Value(_, awake), Value(_, hot)) => Value("other rooms awake", awake - hot),
        _ => awake,
    };
    let of_rooms = Sum(vec![
        each(&hot, NodeBytesPerHotRoom),
        each(&quiet, NodeBytesPerIdleRoom),
        each(&traffic.users, NodeBytesPerConnection),
    ]);
    let left = left(&nodes, "nodes without the spare", demand);
    let memory = Sum(vec![Cost(NodeBytesAlone), Quotient(vec![of_rooms, left])]);
    lines.add("memory of each node", "bytes", "", &memory);
}

fn nats(lines: &mut Lines<'_>, demand: &Demand, traffic: &Traffic, gateways: Expression) {
    let reached = Least(vec![gateways, traffic.audience.clone()]);
    let reached = lines.add("gateways a send reaches, at most", "", "", &reached);
    let (ask, answer) = (Value("command", 1.0), Value("ack", 1.0));
    let of_send = Sum(vec![ask.clone(), answer.clone(), reached.clone()]);
    let of_command = Sum(vec![ask.clone(), answer]);
    let messages = Sum(vec![
        Product(vec![traffic.sends.clone(), of_send]),
        Product(vec![traffic.commands.clone(), of_command]),
    ]);
    let note =
        "At most: what is under way at the same time shares a batch (DESIGN: 64 KiB or 1 ms).";
    let messages = lines.add("NATS messages", "/s", note, &messages);
    let event = Sum(vec![traffic.text.clone(), Cost(WireBytesPerEvent)]);
    let bytes = Product(vec![traffic.sends.clone(), Sum(vec![ask, reached]), event]);
    let note = "Sends and their events, as large as on the clients' wire; acks and other commands are smaller.";
    lines.add("NATS bytes a second", "bytes", note, &bytes);
    let cpu = each(&messages, NatsCpuPerMessage);
    lines.add("cores of NATS", "cores", "", &cores(cpu, demand));
}

fn database(lines: &mut Lines<'_>, demand: &Demand, traffic: &Traffic) {
    let rows = each(&traffic.sends, DatabaseRowsPerSend);
    let rows = lines.add("rows written", "/s", "", &rows);
    let replicas = Value("replicas", demand.replicas);
    let copies = Product(vec![rows, replicas.clone()]);
    let copies = lines.add("rows written on all replicas", "/s", "", &copies);
    let cpu = each(&copies, DatabaseCpuPerRow);
    let note = "Reads are not counted: recent pages come from a node's memory.";
    lines.add("cores of the database", "cores", note, &cores(cpu, demand));
    let stored = Sum(vec![traffic.text.clone(), Cost(DatabaseBytesPerSend)]);
    let day = Product(vec![
        traffic.sends.clone(),
        Value("seconds a day", 86_400.0),
        stored,
        replicas,
    ]);
    let note = "If it is sent at this rate all day.";
    let day = lines.add("disk of the database a day", "bytes", note, &day);
    let kept = Product(vec![day, Value("retention days", demand.retention_days)]);
    let note = "Without the room that compaction needs.";
    lines.add("disk of the database in the end", "bytes", note, &kept);
}

#[cfg(test)]
mod tests {
    use super::zipf_audience;

    #[test]
    fn zipf_audiences_are_those_of_rooms_counted_one_by_one() {
        let slow = |users: f64, rooms: u32, each: f64, s: f64| {
            let weights: Vec<f64> = (1..=rooms).map(|n| f64::from(n).powf(-s)).collect();
            let total: f64 = weights.iter().sum();
            let sizes = weights
                .iter()
                .map(|weight| (users * each * weight / total).min(users));
            let sizes: Vec<f64> = sizes.collect();
            sizes.iter().map(|size| size * size).sum::<f64>() / sizes.iter().sum::<f64>()
        };
        for (users, rooms, each, s) in [
            (1_000.0, 10, 1.0, 1.0),
            (1_000.0, 10, 9.0, 2.0),
            (100_000.0, 300_000, 3.0, 1.0),
            (100_000.0, 300_000, 3.0, 0.7),
        ] {
            let (fast, slow) = (
                zipf_audience(users, f64::from(rooms), each, s),
                slow(users, rooms, each, s),
            );
            assert!(
                (fast / slow - 1.0).abs() < 1e-3,
                "{users} {rooms} {each} {s}: {fast}, {slow}"
            );
        }
        // More rooms than can be counted one by one take no longer.
        assert!(zipf_audience(1e9, 1e12, 5.0, 1.0) > 1.0);
    }
}
