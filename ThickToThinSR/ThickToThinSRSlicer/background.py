"""Runs a worker process while Slicer stays responsive."""

import qt
import slicer

from ThickToThinSRLib.errors import UserError


class BackgroundRun:
    """One run of a worker; only one at a time.

    :param worker: ThickToThinSRLib.worker.process.WorkerProcess.
    :param folder: TemporaryDirectory of the run; removed after onEnd.
    :param onEvent: called with each event of the worker (a dict).
    :param onEnd: called once with a function that returns the worker's report or raises its error.
    """

    current = None

    def __init__(self, worker, folder, onEvent, onEnd):
        self.worker, self.folder = worker, folder
        self._onEvent, self._onEnd = onEvent, onEnd
        self.process, self._timer = qt.QProcess(), qt.QTimer()
        self._sceneTag = None

    @staticmethod
    def refuseSecond():
        """Raise UserError if a worker is running."""
        if BackgroundRun.current is not None:
            raise UserError("An enhancement is running; cancel it or wait for it")

    def start(self):
        """Start the worker; UserError if another one is running."""
        self.refuseSecond()
        BackgroundRun.current = self
        # Cancel when the scene is closed: the result must not appear in the next scene.
        scene = slicer.mrmlScene
        self._sceneTag = scene.AddObserver(
            scene.StartCloseEvent, lambda caller, event: self.cancel(wait=True)
        )
        environment = qt.QProcessEnvironment.systemEnvironment()
        for name, value in self.worker.environment.items():
            environment.insert(name, value)
        self.process.setProcessEnvironment(environment)
        self.process.setWorkingDirectory(self.folder.name)
        self.process.connect("readyReadStandardOutput()", self._readOutput)
        self.process.connect("readyReadStandardError()", self._readErrors)
        self.process.connect("finished(int,QProcess::ExitStatus)", self._onFinished)
        self.process.connect("errorOccurred(QProcess::ProcessError)", self._onError)
        self._timer.connect("timeout()", self._escalate)
        self.process.start(self.worker.command[0], self.worker.command[1:])

    def cancel(self, wait=False):
        """Cancel the run: the function that onEnd receives raises Cancelled.

        :param wait: wait until the worker has ended (at most 2 s).
        """
        self.worker.cancel()
        self._timer.start(100)
        while wait and self.process.state() != qt.QProcess.NotRunning:
            self.process.waitForFinished(100)
            self.worker.escalate(self.process)

    def _readOutput(self):
        for event in self.worker.feed_output(bytes(self.process.readAllStandardOutput().data())):
            self._onEvent(event)

    def _readErrors(self):
        self.worker.feed_errors(bytes(self.process.readAllStandardError().data()))

    def _escalate(self):
        self.worker.escalate(self.process)

    def _onError(self, error):
        if error == qt.QProcess.FailedToStart:  # after any other error, Qt emits finished()
            self._end(lambda: self.worker.not_started())

    def _onFinished(self, exitCode, exitStatus):
        self._readOutput()
        self._readErrors()
        code = exitCode if exitStatus == qt.QProcess.NormalExit else None
        self._end(lambda: self.worker.outcome(code))

    def _end(self, outcome):
        self._timer.stop()
        slicer.mrmlScene.RemoveObserver(self._sceneTag)
        BackgroundRun.current = None
        try:
            self._onEnd(outcome)
        finally:
            self.folder.cleanup()
