package bridge

import "errors"

var errNoExec = errors.New("on Windows no process can become another executable: the update is used at the next start")

func canExec() error            { return errNoExec }
func become(Command, int) error { return errNoExec }
func closeOnExec(int)           {}
