//! OpenPGP cards in software behind the real PC/SC service.
//!
//! Each test has its own `pcscd`, with its own socket and two readers on loopback, so that tests
//! disturb neither each other nor the machine they run on. The clients find it by [`Reader::env`].
//! What was started ends with the value that started it, by its process id, and with the test
//! process, however that ends.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::tokens::{missing, without_equipment, write_secret};

/// The PINs of a new card.
pub(crate) const USER_PIN: &str = "123456";
pub(crate) const ADMIN_PIN: &str = "12345678";

const DRIVER: &str = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so";

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A PC/SC service of its own, with two readers.
#[derive(Debug)]
pub(crate) struct Reader {
    folder: PathBuf,
    port: u16,
    service: Child,
    /// Held as long as the ports are.
    _ports: File,
}

/// One of a [`Reader`]'s two slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    First,
    Second,
}

/// A card in a reader.
#[derive(Debug)]
pub(crate) struct VirtualCard {
    process: Child,
    slot: Slot,
    socket: PathBuf,
}

/// A world with readers, and in the first a card with these options: Nitrokey's applet, or that of
/// another author with `insert_second`. Ends the test where there can be none.
macro_rules! card_or_skip {
    ($options:expr) => {
        card_or_skip!(insert, $options)
    };
    ($insert:ident, $options:expr) => {{
        let Some(world) = $crate::common::world::World::with_readers() else {
            return;
        };
        let first = $crate::common::cards::Slot::First;
        let Some(card) = world.reader().$insert(first, $options) else {
            return;
        };
        (world, card)
    }};
}
pub(crate) use card_or_skip;

impl Reader {
    /// Starts the service below `folder`; `None` where something that it needs is missing (see
    /// [`missing`]).
    pub(crate) fn start(folder: &Path) -> Option<Self> {
        for (path, name) in [
            (DRIVER, "vsmartcard-vpcd"),
            ("/usr/sbin/pcscd", "pcscd"),
            ("/usr/bin/opensc-tool", "opensc-tool"),
        ] {
            if !Path::new(path).exists() || without_equipment() {
                return missing(name);
            }
        }
        // Other users become root in a namespace of their own, where the system allows that.
        let own_namespace = if rustix::process::geteuid().is_root() {
            "--mount"
        } else {
            "-rm"
        };
        if !Command::new("unshare")
            .args([own_namespace, "true"])
            .output()
            .is_ok_and(|output| output.status.success())
        {
            return missing("the right to a mount namespace (as root, or with user namespaces)");
        }
        let folder = folder.join("pcsc");
        let (run, configuration) = (folder.join("run"), folder.join("readers"));
        for path in [&run, &configuration] {
            fs::create_dir_all(path).expect("a folder for the service");
        }
        let (port, ports) = two_ports();
        let reader = format!(
            "FRIENDLYNAME \"Virtual\"\nDEVICENAME /dev/null:{port:#X}\nLIBPATH {DRIVER}\n\
             CHANNELID {port:#X}\n"
        );
        fs::write(configuration.join("vpcd"), reader).expect("the readers' configuration");
        // The service knows one folder for its socket, so that folder is another one for it alone.
        let script = "[ -d /run/pcscd ] || mkdir /run/pcscd ||
                { mount -t tmpfs tmpfs /run && mkdir /run/pcscd; }
            mount --bind \"$0\" /run/pcscd &&
                exec setpriv --pdeathsig KILL /usr/sbin/pcscd --foreground -c \"$1\"";
        let service = Command::new("unshare")
            .args([own_namespace, "sh", "-c", script])
            .args([&run, &configuration])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the PC/SC service");
        let reader = Self {
            folder,
            port,
            service,
            _ports: ports,
        };
        wait_for("the PC/SC service", || {
            reader.socket().exists() && listens(port + 1)
        });
        Some(reader)
    }

    /// The variable by which clients find the service.
    pub(crate) fn env(&self) -> (&'static str, PathBuf) {
        ("PCSCLITE_CSOCK_NAME", self.socket())
    }

    /// Ends the service, as if it had crashed.
    pub(crate) fn crash(&self) {
        let status = Command::new("kill")
            .args(["-KILL", &self.service.id().to_string()])
            .status();
        assert!(status.expect("kill").success());
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("run/pcscd.comm")
    }

    /// Puts in Nitrokey's applet, with these options of `tests/virtual-card`; `None` when that is
    /// not built.
    pub(crate) fn insert(&self, slot: Slot, options: &[&str]) -> Option<VirtualCard> {
        let Some(program) = std::env::var_os("COUNTERSIGN_TEST_VIRTUAL_CARD") else {
            return missing(
                "the virtual card (COUNTERSIGN_TEST_VIRTUAL_CARD; see \
                 `tests/equipment.sh virtual-card`)",
            );
        };
        let mut command = dying_with_us(Path::new(&program));
        command.args([
            "--addr",
            &format!("127.0.0.1:{}", self.port_of(slot)),
            "--state",
        ]);
        command
            .arg(self.folder.join(format!("{slot:?}")))
            .args(options);
        Some(self.plug_in(slot, command))
    }

    /// Puts in the card of another author, with these options of `tests/second-card`; `None` when
    /// that is not installed.
    pub(crate) fn insert_second(&self, slot: Slot, options: &[&str]) -> Option<VirtualCard> {
        let Some(python) = std::env::var_os("COUNTERSIGN_TEST_SECOND_CARD") else {
            return missing(
                "the second card (COUNTERSIGN_TEST_SECOND_CARD; see \
                 `tests/equipment.sh second-card`)",
            );
        };
        let mut command = dying_with_us(Path::new(&python));
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/second-card/card.py"));
        command.args(["--port", &self.port_of(slot).to_string(), "--filestorage"]);
        command
            .arg(self.folder.join(format!("{slot:?}.fs")))
            .args(options);
        Some(self.plug_in(slot, command))
    }

    fn port_of(&self, slot: Slot) -> u16 {
        match slot {
            Slot::First => self.port,
            Slot::Second => self.port + 1,
        }
    }

    fn plug_in(&self, slot: Slot, mut command: Command) -> VirtualCard {
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut process = process.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut printed = String::new();
        let mut lines =
            BufReader::new(process.stderr.take().expect("standard error is piped")).lines();
        let mut said = lines
            .by_ref()
            .map_while(Result::ok)
            .inspect(|line| printed.push_str(line));
        let plugged_in = said.any(|line| line.contains("plugged in"));
        assert!(plugged_in, "{command:?} printed {printed}");
        // Nobody reads on, but the pipe must not fill.
        thread::spawn(move || lines.for_each(drop));
        let card = VirtualCard {
            process,
            slot,
            socket: self.socket(),
        };
        wait_for("the reader to see its card", || card.is_seen());
        card
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        end(&mut self.service);
    }
}

impl VirtualCard {
    /// Pulls the card out, and waits until the reader knows.
    pub(crate) fn pull(mut self) {
        end(&mut self.process);
        self.gone();
    }

    /// Waits until the card is out that pulled itself out.
    pub(crate) fn gone(mut self) {
        wait_for("the card to end", || {
            self.process.try_wait().expect("the card's state").is_some()
        });
        wait_for("the reader to see that its card is gone", || {
            !self.is_seen()
        });
        // Sooner than that, vpcd takes no other card any more.
        thread::sleep(Duration::from_millis(600));
    }

    fn is_seen(&self) -> bool {
        let mut command = Command::new("opensc-tool");
        let output = command
            .args(["--reader", self.name(), "--atr"])
            .env("PCSCLITE_CSOCK_NAME", &self.socket)
            .output();
        output.is_ok_and(|output| output.status.success())
    }

    fn name(&self) -> &'static str {
        match self.slot {
            Slot::First => "Virtual 00 00",
            Slot::Second => "Virtual 00 01",
        }
    }

    /// Sends commands in hexadecimal digits to the OpenPGP application: the answers, each of which
    /// ends with its status.
    pub(crate) fn send(&self, commands: &[&str]) -> Vec<String> {
        let all = [&["00A4040006D27600012401"], commands].concat();
        self.exchange(&all).split_off(1)
    }

    fn exchange(&self, commands: &[&str]) -> Vec<String> {
        let mut tool = Command::new("opensc-tool");
        tool.args(["--reader", self.name()])
            .env("PCSCLITE_CSOCK_NAME", &self.socket);
        commands
            .iter()
            .for_each(|command| _ = tool.args(["-s", command]));
        let output = tool.output().expect("opensc-tool");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut answers = Vec::<(String, String)>::new();
        for line in text.lines() {
            if let Some(status) = line.strip_prefix("Received (SW1=0x") {
                answers.push((
                    String::new(),
                    format!("{}{}", &status[..2], &status[10..12]),
                ));
            } else if let Some((data, _)) = answers.last_mut()
                && !line.starts_with("Sending")
            {
                // Sixteen bytes, then the same as text.
                let bytes = line.split(' ').take(16).filter(|byte| byte.len() == 2);
                data.extend(bytes.take_while(|byte| byte.chars().all(|c| c.is_ascii_hexdigit())));
            }
        }
        assert_eq!(
            answers.len(),
            commands.len(),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        answers
            .into_iter()
            .map(|(data, status)| data + &status)
            .collect()
    }

    /// Sends one command to whatever application the card has open.
    pub(crate) fn send_as_it_is(&self, command: &str) -> String {
        self.exchange(&[command]).remove(0)
    }

    /// As [`VirtualCard::send`], and each command must be carried out.
    pub(crate) fn order(&self, commands: &[&str]) -> Vec<String> {
        let answers = self.send(commands);
        assert!(
            answers.iter().all(|answer| answer.ends_with("9000")),
            "{commands:?}: {answers:?}"
        );
        answers
    }

    /// How many signatures its key has made, in its own count.
    pub(crate) fn signatures(&self) -> u32 {
        let answer = self.order(&["00CA007A00"]).remove(0);
        let start = answer.find("9303").expect("a counter") + 4;
        u32::from_str_radix(&answer[start..start + 6], 16).expect("three bytes")
    }

    /// The tries left for the PIN and for the admin PIN.
    pub(crate) fn tries(&self) -> (u8, u8) {
        let answer = self.order(&["00CA00C400"]).remove(0);
        let byte = |at: usize| u8::from_str_radix(&answer[2 * at..2 * at + 2], 16).expect("a byte");
        (byte(4), byte(6))
    }

    /// Orders something that takes the admin PIN.
    pub(crate) fn order_as_admin(&self, command: &str) {
        self.order(&[&format!("00200083{}", with_length(ADMIN_PIN)), command]);
    }

    /// Lets each signature wait for a touch, or not.
    pub(crate) fn want_touch(&self, wanted: bool) {
        self.order_as_admin(if wanted {
            "00DA00D6020120"
        } else {
            "00DA00D6020020"
        });
    }

    /// Lets one PIN serve for all signatures, or each take it anew.
    pub(crate) fn want_pin_each_time(&self, wanted: bool) {
        self.order_as_admin(if wanted {
            "00DA00C40100"
        } else {
            "00DA00C40101"
        });
    }

    /// Lets it take hashes in place of PINs (OpenPGP card 3.4, section 4.3.2), as gpg's `kdf-setup`
    /// does: SHA-256, 100,000 bytes, a salt for each. A card would turn its PINs into hashes by
    /// itself; this applet leaves that to its setup.
    pub(crate) fn hash_pins(&self) {
        let (user_salt, admin_salt) = ([0x11; 8], [0x22; 8]);
        let (user, admin) = (hashed(USER_PIN, user_salt), hashed(ADMIN_PIN, admin_salt));
        let salts = format!(
            "8408{}8508{}8608{}",
            hex::encode(user_salt),
            hex::encode([0x33; 8]),
            hex::encode(admin_salt)
        );
        let kdf = format!(
            "8101038201088304000186A0{salts}8720{}8820{}",
            hex::encode(user),
            hex::encode(admin)
        );
        self.order_as_admin(&format!("00DA00F9{:02x}{kdf}", kdf.len() / 2));
        let change = |which: &str, from: &str, to: [u8; 32]| {
            let both = hex::encode(from) + &hex::encode(to);
            self.order(&[&format!("002400{which}{:02x}{both}", both.len() / 2)]);
        };
        change("81", USER_PIN, user);
        change("83", ADMIN_PIN, admin);
    }

    /// Gives it another PIN.
    pub(crate) fn change_pin(&self, from: &str, to: &str) {
        let both = format!("{from}{to}");
        self.order(&[&format!("00240081{}", with_length(&both))]);
    }
}

impl Drop for VirtualCard {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

/// Its length and its bytes, in hexadecimal digits.
fn with_length(text: &str) -> String {
    format!("{:02x}{}", text.len(), hex::encode(text))
}

/// Iterated and salted S2K with SHA-256 over 100,000 bytes (RFC 9580, section 3.7.1.3).
fn hashed(pin: &str, salt: [u8; 8]) -> [u8; 32] {
    let salted = [&salt[..], pin.as_bytes()].concat();
    let bytes: Vec<u8> = salted.iter().copied().cycle().take(100_000).collect();
    Sha256::digest(bytes).into()
}

/// Files with the PINs of a new card below `folder`, and the query of a URI that names them.
pub(crate) fn pin_sources(folder: &Path) -> String {
    let (user, admin) = (folder.join("user-pin"), folder.join("admin-pin"));
    write_secret(&user, USER_PIN);
    write_secret(&admin, ADMIN_PIN);
    format!(
        "pin-source=file:{}&admin-pin-source=file:{}",
        user.display(),
        admin.display()
    )
}

/// Two ports in a row that no other test has. The drivers listen on them as soon as the service
/// runs.
fn two_ports() -> (u16, File) {
    let user = rustix::process::geteuid().as_raw();
    let folder = std::env::temp_dir().join(format!("countersign-test-ports-{user}"));
    fs::create_dir_all(&folder).expect("a folder for the locks of ports");
    for port in (36_000..40_000).step_by(2) {
        let lock = File::create(folder.join(port.to_string())).expect("the lock of two ports");
        if lock.try_lock().is_ok() && !listens(port) && !listens(port + 1) {
            return (port, lock);
        }
    }
    panic!("no two ports are free");
}

fn listens(port: u16) -> bool {
    TcpListener::bind(("0.0.0.0", port)).is_err()
}

/// A command that ends when this process does.
fn dying_with_us(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

fn end(process: &mut Child) {
    // It may have ended by itself.
    let _ended = process.kill();
    let _ended = process.wait();
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited too long for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
