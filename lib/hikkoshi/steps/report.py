"""90: everything that is known of a guest now, finished or not, for a reader without our software, and sealed."""

from pathlib import Path

from hikkoshi.check import Check
from hikkoshi.record import seal
from hikkoshi.report import pdf, report
from hikkoshi.run.step import REPORT
from hikkoshi.steps.runbook import Runbook


class Report(Runbook):
    """90 · Report."""

    step = REPORT

    def checks(self) -> list[Check]:
        """The journal as it was written, and every result readable."""
        return report.checks(self.run.home, self.run.guest.name)

    def write(self) -> str:
        """Write the HTML; says where it is."""
        return str(report.write(self.run.home, self.run.guest.name))

    def first_page(self) -> list[dict[str, str]]:
        """The first page in short, in the report's language."""
        return report.table(self.run.home, self.run.guest.name)

    def print_pdf(self) -> list[Check]:
        """Print the HTML as PDF, or say what is missing for that."""
        return [pdf.write(report.path(self.run.home, self.run.guest.name))]

    def seal(self) -> str:
        """Seal what nobody has sealed yet, then the guest's whole story; says where it is."""
        return seal.words(self.run.home, seal.of_guest(self.run.home, self.run.guest.name))

    def proofs(self) -> list[Check]:
        """The report tells of what is known at this moment, and the record with it verifies."""
        home, guest = self.run.home, self.run.guest.name
        return [report.complete(home, guest), seal.complete(home, guest)]

    def evidence(self) -> list[Path]:
        """The report and its PDF."""
        written = report.path(self.run.home, self.run.guest.name)
        return [written, pdf.path(written)]
