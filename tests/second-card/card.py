"""A second virtual OpenPGP card, by another author than the first: smartcard-app-openpgp of PyPI, plugged into pcscd
through its driver vpcd. For tests alone.

Where two implementations of the specification answer differently, a program that was only ever tried on one of them
breaks: this one reports a wrong PIN by status 6982 where the other reports 63Cx, has no touch, and can answer in parts.

Mended here, because version 0.4.0 cannot do it: Ed25519 signatures, the list of algorithms, and key generation that
does not wait for its keys. `--chain-responses` keeps a quirk instead: answers in parts (61xx) to commands of extended
length, which is legal, and unexpected by some. `--stuck-counter` is what no honest card does.
"""

import argparse
import socket
import struct
import sys
import time

import smartcard
import ZODB.DB
import ZODB.FileStorage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from smartcard import MASTER_FILE_IDENTIFIER, Card
from smartcard.app.openpgp import (
    KEY_ROLE_AUTHENTICATE,
    KEY_ROLE_DECRYPT,
    KEY_ROLE_SIGN,
    ROLE_TO_SUPPORTED_ALGORITHM_INFORMATION_LIST_DICT,
    OpenPGP,
)
from smartcard.utils import transaction_manager

RSA = 1  # the first byte of algorithm attributes
POWER_OFF, POWER_ON, RESET, GET_ATR = 0, 1, 2, 4
PATIENCE = 20  # seconds that vpcd may take to open its port


def decode_apdu(command, upstream=smartcard.decodeAPDU):
    """Le = 00 or 0000 of a command without data means "as much as there is", which smartcard 0.3 reads as nothing."""
    head, data, expected = upstream(command)
    if len(command) == 5 and command[4] == 0:
        expected = 256
    elif len(command) == 7 and command[4] == 0:
        expected = int.from_bytes(command[5:7], "big") or 65536
    return head, data, expected


class Applet(OpenPGP):
    without_rsa = False
    stuck_counter = False
    first_count = None

    def _sign(self, channel, condensate, role):
        key = self.getPrivateKey(channel=channel, role=role)
        if isinstance(key, Ed25519PrivateKey):
            return key.sign(bytes(condensate))
        return super()._sign(channel, condensate, role)

    def _getAlgorithmInformation(self):
        roles = ((0xC1, KEY_ROLE_SIGN), (0xC2, KEY_ROLE_DECRYPT), (0xC3, KEY_ROLE_AUTHENTICATE))
        known = ROLE_TO_SUPPORTED_ALGORITHM_INFORMATION_LIST_DICT
        all_of_them = ((tag, each) for tag, role in roles for each in known[role])
        reported = ((tag, each) for tag, each in all_of_them if not (self.without_rsa and each[0] == RSA))
        return (b"".join(bytes((tag, len(each))) + each for tag, each in reported),)

    def _getSecuritySupportTemplate(self):
        counted = super()._getSecuritySupportTemplate()
        if not self.stuck_counter:
            return counted
        if Applet.first_count is None:
            Applet.first_count = counted
        return Applet.first_count

    def generateAsymmetricKeyPair(self, channel, p1, p2, command_data):
        if p1 == 0x80:
            role = {0xB6: 0, 0xB8: 1, 0xA4: 2}[command_data[0]]
            while self._v_s_keygen_key_list[role] is None:
                time.sleep(0.005)
        return super().generateAsymmetricKeyPair(channel, p1, p2, command_data)


def open_card(storage, serial):
    """The card whose state is in the file `storage`, made on first use."""
    connection = ZODB.DB(storage=ZODB.FileStorage.FileStorage(storage), pool_size=1).open(
        transaction_manager=transaction_manager
    )
    with transaction_manager:
        if not hasattr(connection.root, "card"):
            connection.root.card = Card(name=b"py-openpgp")
            applet = Applet(identifier=b"\x12\x34", manufacturer=b"\xff\xfe", serial=bytes.fromhex(serial))
            applet.activateSelf()
            connection.root.card.createFile(connection.root.card.traverse((MASTER_FILE_IDENTIFIER,)), applet)
        card = connection.root.card
    with transaction_manager:
        card.traverse((MASTER_FILE_IDENTIFIER, b"\x12\x34"))
    return card


class Slot:
    """The other end of vpcd."""

    def __init__(self, port):
        for _ in range(PATIENCE * 20):
            try:
                self.socket = socket.create_connection(("127.0.0.1", port))
                break
            except OSError:
                time.sleep(0.05)
        else:
            sys.exit("second-card: no reader at port %d" % port)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _read(self, count):
        # vpcd writes length and command as two segments: acknowledged late, each command would take 40 ms.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                sys.exit(0)
            data += more
        return data

    def receive(self):
        return self._read(struct.unpack(">H", self._read(2))[0])

    def send(self, data):
        self.socket.sendall(struct.pack(">H", len(data)) + bytes(data))


def main():
    parser = argparse.ArgumentParser(description="A second virtual OpenPGP card, for tests")
    parser.add_argument("--port", type=int, required=True, help="where vpcd listens")
    parser.add_argument("--filestorage", required=True, help="the file with the state of the card")
    parser.add_argument("--serial", default="00000002", help="serial number, in eight hexadecimal digits")
    parser.add_argument("--chain-responses", action="store_true", help="answer in parts")
    parser.add_argument("--without-rsa", action="store_true", help="do not report that it knows RSA")
    parser.add_argument("--stuck-counter", action="store_true", help="report the same count of signatures for ever")
    arguments = parser.parse_args()
    Applet.without_rsa, Applet.stuck_counter = arguments.without_rsa, arguments.stuck_counter
    if not arguments.chain_responses:
        smartcard.decodeAPDU = decode_apdu

    card = open_card(arguments.filestorage, arguments.serial)
    slot = Slot(arguments.port)
    print("second-card: plugged in at", arguments.port, file=sys.stderr, flush=True)
    while True:
        message = slot.receive()
        if len(message) > 1:
            slot.send(card.runAPDU(bytearray(message)))
        elif message[0] == GET_ATR:
            with transaction_manager:
                answer = card.getATR()
            slot.send(answer)
        elif message[0] in (POWER_OFF, POWER_ON, RESET):
            with transaction_manager:
                card.clearVolatile()


if __name__ == "__main__":
    main()
