// A client of the public go-qemu library: every query that it has a typed method for, then a session of qemu.Domain.
//
//	client SOCKET DISK    a line "NAME: ok" or "NAME: MESSAGE" for each
package main

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/digitalocean/go-qemu/qemu"
	"github.com/digitalocean/go-qemu/qmp"
	"github.com/digitalocean/go-qemu/qmp/raw"
)

func tell(name string, err interface{}) {
	if err == nil || reflect.ValueOf(err).IsNil() {
		fmt.Printf("%s: ok\n", name)
	} else {
		fmt.Printf("%s: %v\n", name, err)
	}
}

func queries(m *raw.Monitor) {
	value := reflect.ValueOf(m)
	for i := 0; i < value.NumMethod(); i++ {
		name := value.Type().Method(i).Name
		method := value.Method(i)
		if !strings.HasPrefix(name, "Query") || name == "QueryQMPSchema" { // that is longer than the library reads
			continue
		}
		var args []reflect.Value
		for j := 0; j < method.Type().NumIn(); j++ {
			args = append(args, reflect.Zero(method.Type().In(j)))
		}
		out := method.Call(args)
		tell(name, out[len(out)-1].Interface())
	}
}

func wait(events chan qmp.Event, name string) error {
	limit := time.After(20 * time.Second)
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return fmt.Errorf("the events ended before %s", name)
			}
			if e.Event == name {
				return nil
			}
		case <-limit:
			return fmt.Errorf("no %s", name)
		}
	}
}

func life(d *qemu.Domain, m *raw.Monitor, disk string) {
	events, done, err := d.Events()
	tell("Events", err)
	defer close(done)
	version, err := d.Version()
	tell("Version "+version, err)
	names, err := d.Commands()
	tell(fmt.Sprintf("Commands %v", len(names) > 100), err)
	cpus, err := d.CPUs()
	tell(fmt.Sprintf("CPUs %d", len(cpus)), err)
	pci, err := d.PCIDevices()
	tell(fmt.Sprintf("PCIDevices %v", len(pci) > 2), err)
	disks, err := d.BlockDevices()
	tell(fmt.Sprintf("BlockDevices %d", len(disks)), err)
	stats, err := d.BlockStats()
	tell(fmt.Sprintf("BlockStats %d", len(stats)), err)
	status, err := d.Status()
	tell(fmt.Sprintf("Status %v", status), err)
	tell("SystemReset", d.SystemReset())
	tell("RESET", wait(events, "RESET"))
	tell("SystemPowerdown", d.SystemPowerdown())
	tell("POWERDOWN", wait(events, "POWERDOWN"))
	tell("Stop", m.Stop())
	tell("STOP", wait(events, "STOP"))
	tell("Cont", m.Cont())
	tell("RESUME", wait(events, "RESUME"))
	bus, id := "rp0", "n0"
	tell("DeviceAdd", m.DeviceAdd("virtio-rng-pci", &bus, &id))
	tell("DeviceAdd again", m.DeviceAdd("virtio-rng-pci", &bus, &id))
	text, err := m.HumanMonitorCommand("info status", nil)
	tell("HumanMonitorCommand "+strings.TrimSpace(text), err)
	tell("Snapshot", disks[0].Snapshot(d, disk, ""))
	tell("QomGet", func() error { _, err := m.QomGet("/machine", "type"); return err }())
	tell("Quit", m.Quit())
	tell("SHUTDOWN", wait(events, "SHUTDOWN"))
}

func main() {
	socket, err := qmp.NewSocketMonitor("unix", os.Args[1], 10*time.Second)
	if err == nil {
		err = socket.Connect()
	}
	tell("Connect", err)
	m := raw.NewMonitor(socket)
	queries(m)
	d, err := qemu.NewDomain(socket, "d")
	tell("NewDomain", err)
	life(d, m, os.Args[2])
}
